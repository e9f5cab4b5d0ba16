"""Runs that are killed 200 times, go on for 300 thousand steps, and lose their disk.

    python benchmarks/soak.py kills [--count 200] [--processes] [--learn]
    python benchmarks/soak.py memory [--steps 300000] [--capacity 20000]
    python benchmarks/soak.py diskfull [--mb 16]

`kills` ends a run by SIGKILL again and again, half of the times during a save, and starts it again
each time. The observation `count` of the dummy numbers all observations of an environment over all
restarts, so what is missing in replay, there twice, or not of this run is seen. `memory` looks at a
process that acts at random, once its replay is full. `diskfull` needs root, for a small tmpfs.

Agents act at random, so that starting again takes no compilation, unless `--learn` is given.
Results are printed and added to benchmarks/soak.json.
"""

import argparse
import contextlib
import io
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import programs

from embodied import build, config
from embodied.core import checkpoint

ROOT = programs.ROOT
SCHEMA = config.Schema(ROOT / 'dreamerv3' / 'configs.yaml')
RESULTS = ROOT / 'benchmarks' / 'soak.json'
ENVS = 4
BASE = {
    'task': 'dummy_disc',
    'env.dummy.size': '48 48',
    'env.dummy.length': '37',
    'run.envs': str(ENVS),
    'run.report_every': '0',
    'run.log_every': '1',
    'run.save_every': '1',
    'replay.chunksize': '64',
    'jax.debug': 'False',
}


def contents(logdir, flags):
    """What the newest checkpoint holds, read from a copy.

    Its step, the numbers of the observations in its replay, the capacity of that in steps, and the
    bytes of one step.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = pathlib.Path(folder)
        for name in ('ckpt', 'replay'):
            shutil.copytree(logdir / name, copy / name)
        _, step, data = checkpoint.read(copy, 'replay')
        values = {k: v.split() if ' ' in v else v for k, v in flags.items()}
        options = SCHEMA.resolve(['debug'], {**values, 'logdir': folder})
        replay = build.make_replay(options)
        with contextlib.redirect_stdout(io.StringIO()):
            replay.load(data)
        chunks = [x for x in replay.chunks.values() if x.length]
        counts = np.concatenate([x.columns['count'][: x.length] for x in chunks]).astype(int)
        size = sum(x.nbytes for x in chunks) / len(counts)
        return step, counts, options.replay.size, size


def compare(logdir, flags):
    """What is wrong with the replay of a checkpoint: steps that are lost, doubled, or too many."""
    step, counts, capacity, _ = contents(logdir, flags)
    each = step // ENVS
    found = np.bincount(counts, minlength=each + 1)[1 : each + 1]
    kept = found[-min(each, capacity // ENVS) :]
    return step, {
        'lost': int((ENVS - kept).clip(0).sum()),
        'doubled': int((found - ENVS).clip(0).sum()),
        'beyond': int((counts > each).sum() + step % ENVS),
    }


def kills(args, folder):
    """Kill a run again and again."""
    logdir, rng = folder / 'run', np.random.default_rng(args.seed)
    flags = {**BASE, 'replay.size': '5000', 'run.parallel_envs': str(args.processes), **args.flags}
    total = dict.fromkeys(
        ('kills', 'in_saves', 'failed_restarts', 'lost', 'doubled', 'beyond', 'gone', 'orphans'), 0
    )
    step, saves, starts, seconds = 0, 0, [2.0], [0.1]
    began, failures = time.monotonic(), []
    for number in range(args.count):
        program = programs.Program(logdir, flags)
        kind = rng.choice(['save', 'any', 'start'], p=[0.7, 0.2, 0.1]) if number else 'save'
        alive = lurk(program, logdir, kind, rng, starts, seconds)
        if not alive:
            total['failed_restarts'] += 1
            failures.append(program.text[-2000:])
            print(f'\nrestart {number} failed:\n{failures[-1]}')
        total['orphans'] += program.kill()
        total['kills'] += 1
        total['in_saves'] += any((logdir / 'ckpt').glob('tmp-*'))
        saves += len(program.saved())
        if checkpoint.Checkpoint(logdir / 'ckpt').exists():
            step, problems = compare(logdir, flags)
            total['gone'] += step < max(program.saved(), default=0)
            for key, value in problems.items():
                total[key] += value
        line = ' '.join(f'{k} {v}' for k, v in total.items())
        print(f'\r{line}, step {step}, {saves} saves', end='', flush=True)
    print()
    program = programs.Program(logdir, flags)
    program.wait(lambda: program.saved())
    total['clean_end'] = program.stop()
    step, problems = compare(logdir, flags)
    total['falling_rows'] = falling_rows(logdir)
    total = {k: v + problems.get(k, 0) for k, v in total.items()}
    environments = 'processes' if args.processes else 'in-process'
    agent = 'learning' if args.learn else 'random'
    return f'kills, {agent} agent, {environments}', {
        **total,
        'steps': step,
        'saves': saves,
        'save_ms': round(1000 * statistics.median(seconds)),
        'minutes': round((time.monotonic() - began) / 60, 1),
        'failures': failures,
    }


def lurk(program, logdir, kind, rng, starts, seconds):
    """Wait for the moment of a kill. False if the program did not come so far.

    `starts` and `seconds` collect how long a start and a save take.
    """
    if kind == 'start':
        time.sleep(rng.uniform(0, starts[-1]))
        return program.runs
    resumes = checkpoint.Checkpoint(logdir / 'ckpt').exists()
    if not program.wait(
        lambda: 'Loaded checkpoint: ' in program.text if resumes else program.saved()
    ):
        return False
    starts.append(time.monotonic() - program.began)
    if kind == 'any':
        time.sleep(rng.uniform(0, 3))
        return program.runs
    saving = lambda: any(x.startswith('tmp-') for x in os.listdir(logdir / 'ckpt'))
    for _ in range(rng.integers(1, 3)):
        if not program.wait(saving):
            return False
        start = time.monotonic()
        if not program.wait(lambda: not saving()):
            return False
        seconds.append(time.monotonic() - start)
    if not program.wait(saving):
        return False
    time.sleep(rng.uniform(0, 0.8 * statistics.median(seconds)))
    return program.runs


def falling_rows(logdir):
    """Rows of the logs that are torn, or whose step does not lie above that of the row before."""
    wrong = 0
    for path in logdir.glob('*.jsonl'):
        last = -1
        for line in path.read_text().splitlines():
            try:
                step = json.loads(line)['step']
            except ValueError:
                step = -1
            wrong += step <= last
            last = max(step, last)
    return wrong


def memory(args, folder):
    """Memory, descriptors, threads and disk of a long run, once its replay is full."""
    logdir = folder / 'run'
    own = {'run.steps': str(args.steps), 'run.save_every': '10', 'replay.size': str(args.capacity)}
    flags = {**BASE, 'replay.chunksize': '1024', 'run.parallel_envs': 'False', **own, **args.flags}
    program, table = programs.Program(logdir, flags), []
    proc = pathlib.Path(f'/proc/{program.process.pid}')
    while program.runs:
        time.sleep(1)
        with contextlib.suppress(OSError, ValueError, IndexError):
            step = json.loads((logdir / 'metrics.jsonl').read_text().splitlines()[-1])['step']
            kb = re.findall(r'(?:VmRSS|RssAnon):\s+(\d+) kB', (proc / 'status').read_text())
            counts = [len(list((proc / x).iterdir())) for x in ('fd', 'task')]
            files = {x: x.stat().st_size for x in (logdir / 'replay').rglob('*') if x.is_file()}
            # What is on its way into the next save.
            copy = sum(v for x, v in files.items() if x.parent.name == 'unsaved')
            sizes = sum(files.values()) - copy, sum(files.values())
            rss, anonymous = (int(x) / 1000 for x in kb)  # Fails if it has just ended.
            table.append((step, rss, anonymous, *counts, *sizes))
            print(f'\rstep {step} rss {rss:.1f} MB', end='', flush=True)
    print()
    assert program.process.returncode == 0, program.text[-2000:]
    step, _, capacity, size = contents(logdir, flags)
    full = np.array([x for x in table if x[0] > 2 * capacity])
    steps, rss, anonymous, descriptors, threads, disk, total = full.T
    slope = lambda x: round(float(1000 * np.polyfit(steps, x, 1)[0]), 4)
    # While a save becomes current, for a moment its copy lies beside what it takes the place of.
    disk = np.lib.stride_tricks.sliding_window_view(disk, 3).min(1)
    halves = lambda x: [int(half.max()) for half in np.array_split(x, 2)]
    return 'memory', {
        'steps': step,
        'full_after': capacity,
        'mb_per_1k_steps': slope(rss),
        # Without pages of files, which the system takes away where memory is short.
        'anonymous_mb_per_1k_steps': slope(anonymous),
        'rss_mb': rss[[0, -1]].round(1).tolist(),
        'anonymous_mb': anonymous[[0, -1]].round(1).tolist(),
        # The most of them in the first and the second half; a save has some of its own.
        'descriptors': halves(descriptors),
        'threads': halves(threads),
        'disk_of_capacity': round(float(disk.max()) / (capacity * size), 3),
        'disk_with_copies': round(float(total.max()) / (capacity * size), 3),
    }


def diskfull(args, folder):
    """Fill the disk of a run while it goes on, and make room again."""
    disk = folder / 'disk'
    disk.mkdir()
    mount = ['mount', '-t', 'tmpfs', '-o', f'size={args.mb}m', 'tmpfs', str(disk)]
    result = subprocess.run(mount, capture_output=True, text=True)
    if result.returncode:
        sys.exit(f'diskfull needs a tmpfs, run it as root: {result.stderr.strip()}')
    try:
        return 'diskfull', fill(disk, folder, args.flags)
    finally:
        subprocess.run(['umount', '--lazy', str(disk)], check=True)


def fill(disk, folder, flags):
    logdir = folder / 'run'
    logdir.symlink_to(disk, target_is_directory=True)
    flags = {**BASE, 'env.dummy.size': '16 16', 'replay.size': '2000', **flags}
    program = programs.Program(logdir, {**flags, 'run.parallel_envs': 'False'})
    assert program.wait(lambda: len(program.saved()) > 2), program.text
    with contextlib.suppress(OSError), (disk / 'ballast').open('wb', buffering=0) as f:
        while f.write(bytes(4096)):
            pass
    complaint = lambda: len(re.findall('Could not save', program.text))
    assert program.wait(lambda: complaint() > 1), program.text
    before = program.saved()
    first = time.monotonic()
    program.wait(lambda: False, seconds=15)
    went_on, complaints = program.runs, complaint()
    step = compare(logdir, flags)[0]
    (disk / 'ballast').unlink()
    room = time.monotonic()
    program.wait(lambda: len(program.saved()) > len(before))
    after = program.saved()
    report = {
        'lines': complaints,
        'full_seconds': round(room - first, 1),
        'went_on': went_on,
        'previous_save_intact': step == before[-1],
        'steps_meanwhile': after[-1] - before[-1],
        'saved_after_seconds': round(time.monotonic() - room, 1),
        'traceback': 'Traceback' in program.text,
        'said': re.search('Could not save.*', program.text)[0],
    }
    program.kill()
    return {**report, **compare(logdir, flags)[1]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('what', choices=['kills', 'memory', 'diskfull'])
    parser.add_argument('--count', type=int, default=200, help='kills')
    parser.add_argument('--learn', action='store_true', help='kill a run that learns')
    parser.add_argument('--processes', action='store_true', help='environments in processes')
    parser.add_argument('--seed', type=int, default=0, help='of the moments of kills')
    parser.add_argument('--steps', type=int, default=300_000, help='of memory')
    parser.add_argument('--capacity', type=int, default=20_000, help='of the replay of memory')
    parser.add_argument('--mb', type=int, default=16, help='size of the disk of diskfull')
    parser.add_argument('--flags', nargs='*', default=[], help='options of the run, as KEY=VALUE')
    args = parser.parse_args()
    flags = dict(x.split('=', 1) for x in args.flags)
    args.flags = {'random_agent': str(not args.learn), **flags}
    with tempfile.TemporaryDirectory() as folder:
        name, result = globals()[args.what](args, pathlib.Path(folder))
    width = max(map(len, result))
    print(f'\n{name}')
    for key, value in result.items():
        print(f'  {key:{width}}  {value}')
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    RESULTS.write_text(json.dumps({**results, name: result}, indent=2) + '\n')


if __name__ == '__main__':
    main()
