"""Trains a tiny agent for 200 steps on every suite that is installed, and says how each run ended.

    python benchmarks/suites.py [--suite atari minigrid ...] [--logdir FOLDER]

A line per suite: seconds, updates, losses of the last log and whether all of them are finite. Not a
measure of learning: it shows that observations, actions and rewards of the suite reach the agent.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Block of a suite, and what makes it small.
SUITES = {
    'atari': ['--env.atari.size', '12', '12'],
    'atari100k': ['--env.atari100k.size', '12', '12'],
    'bsuite': ['--task', 'bsuite_catch/0'],
    'crafter': ['--env.crafter.size', '32', '32'],
    'dmc_proprio': [],
    'dmc_vision': ['--env.dmc.size', '12', '12', '--env.dmc.fast', 'True'],
    'gym': [],
    'langroom': ['--env.langroom.size', '12', '12'],
    'loconav': ['--task', 'loconav_ball_umaze', '--env.loconav.size', '12', '12'],
    'memmaze': ['--env.memmaze.size', '12', '12'],
    'metaworld': ['--env.metaworld.size', '12', '12'],
    'minigrid': ['--env.minigrid.size', '12', '12'],
    'pinpad': ['--env.pinpad.size', '12', '12'],
    'procgen': ['--env.procgen.size', '12', '12'],
}
RUN = (
    *('--run.envs', '2', '--run.steps', '200', '--run.train_ratio', '8', '--run.log_every', '-1'),
    *('--run.report_every', '0', '--run.save_every', '0', '--logger.outputs', 'jsonl'),
    *('--batch_size', '4', '--agent.imag_length', '3'),
    *('--agent.enc.simple.mults', '4', '--agent.dec.simple.mults', '4'),
)
# Most of the time is compilation, which need not be good here.
XLA = '--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true'


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--suite', nargs='+', default=list(SUITES), choices=SUITES)
    parser.add_argument('--logdir', type=pathlib.Path, default=None)
    args = parser.parse_args()
    folder = args.logdir or pathlib.Path(tempfile.mkdtemp(prefix='suites-'))
    for suite in args.suite:
        print(f'{suite:12} {run(suite, folder / suite)}', flush=True)


def run(suite, logdir):
    """Train on a suite; how that ended, in a line."""
    program = [sys.executable, '-m', 'dreamerv3.main', '--configs', suite, 'debug', *RUN]
    program += [*SUITES[suite], '--logdir', str(logdir)]
    environ = {**os.environ, 'XLA_FLAGS': XLA, 'PYTHONPATH': str(ROOT)}
    start = time.monotonic()
    result = subprocess.run(program, env=environ, capture_output=True, text=True)
    passed = f'{time.monotonic() - start:5.0f} s'
    if result.returncode:
        return f'{passed}  failed: {result.stderr.strip().splitlines()[-1]}'
    lines = (logdir / 'metrics.jsonl').read_text().splitlines()
    last = {k: v for line in lines for k, v in json.loads(line).items()}
    losses = {k.rpartition('/')[2]: v for k, v in last.items() if k.startswith('train/loss/')}
    finite = 'all finite' if all(x is not None for x in losses.values()) else 'NOT FINITE'
    shown = ' '.join(f'{k} {v:.3g}' for k, v in losses.items() if v is not None)
    updates = last['train/opt/updates']
    return f'{passed}  step {last["step"]}  updates {updates:.0f}  {finite}: {shown}'


if __name__ == '__main__':
    main()
