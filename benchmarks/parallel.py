"""What `parallel` gains over `train`: environment steps and updates per second with 4 environments.

    python benchmarks/parallel.py [--seconds 60] [--ratios 0 4 32] [--tasks TASK ...] [-- FLAGS]

Runs size1m on each task with both scripts one after the other, and compares the second half of each
run, so that start and compilation are left out. With a train ratio of 0 nothing is learned, which
shows the acting alone. Images of the dummy are 96 x 96 as those of Atari, those of Crafter 64 x 64.
"""

import argparse
import json
import pathlib
import resource
import subprocess
import sys
import tempfile

from embodied import config

ROOT = pathlib.Path(__file__).resolve().parent.parent


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--seconds', type=float, default=60)
    parser.add_argument('--ratios', type=float, nargs='+', default=[0, 4, 32])
    parser.add_argument('--tasks', nargs='+', default=['crafter_reward', 'dummy_disc'])
    parser.add_argument('flags', nargs=argparse.REMAINDER, help='more options, after --')
    args = parser.parse_args()
    flags = [x for x in args.flags if x != '--']
    print(f'{"task":16}{"ratio":>6}  {"script":10}{"env steps/s":>12}{"updates/s":>11}{"CPU s":>8}')
    for task in args.tasks:
        for ratio in args.ratios:
            for script in ('train', 'parallel'):
                steps, updates, cpu = measure(script, task, ratio, args.seconds, flags)
                print(f'{task:16}{ratio:6g}  {script:10}{steps:12.1f}{updates:11.2f}{cpu:8.0f}')


def measure(script, task, ratio, seconds, flags):
    """Environment steps and updates per second, and CPU seconds of all processes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as folder:
        command = f'dreamerv3/main.py --configs size1m --task {task} --script {script}'
        options = {
            'logdir': folder,
            'env.dummy.size': '96 96',
            'run.envs': 4,
            'run.train_ratio': ratio,
            'run.duration': seconds,
            'run.log_every': max(1, seconds / 20),
            'run.report_every': 0,
            'run.eval_every': 0,
        }
        command += ''.join(f' --{k} {v}' for k, v in options.items())
        subprocess.run(
            [sys.executable, *command.split(), *flags],
            cwd=ROOT,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        rows = [json.loads(x) for x in (pathlib.Path(folder) / 'metrics.jsonl').open()]
        saved = config.load(pathlib.Path(folder) / 'config.yaml')
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = sum(getattr(after, x) - getattr(before, x) for x in ('ru_utime', 'ru_stime'))
    rows = [x for x in rows if 'fps/policy' in x]
    rows = rows[len(rows) // 2 : -1]  # The last one is cut short.
    mean = lambda key: sum(x[key] for x in rows) / len(rows)
    # What is logged are trained steps per second.
    return (
        mean('fps/policy'),
        mean('fps/train') / (saved['batch_size'] * saved['batch_length']),
        cpu,
    )


if __name__ == '__main__':
    main()
