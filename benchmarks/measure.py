"""What all benchmarks share: CPU seconds, the unit U, repeats, and results as rows.

U is the CPU time of one float32 product of two 2048 x 2048 matrices in JAX, on this machine in this
hour: what something costs in U can be compared between machines. Wall time means little where
others compute too, so costs are CPU seconds, user and system, of all threads.
"""

import argparse
import json
import os
import pathlib
import platform
import resource
import statistics
import subprocess
import sys
import time
from typing import NamedTuple

ROOT = pathlib.Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:  # Where the packages are not installed.
    sys.path.insert(1, str(ROOT))
SIDE = 2048
LEAST, ENOUGH = 3, 60  # Repeats, and seconds after which so few do.
UNIT_GFLOP = 2 * SIDE**3 / 1e9
# What is printed of a row: title, key, format.
COLUMNS = (
    ('CPU s', 'cpu', '.4g'),
    ('min', 'cpu_min', '.4g'),
    ('wall s', 'wall', '.4g'),
    ('U', 'units', '.3g'),
    ('GFLOP', 'gflop', '.4g'),
    ('GFLOP / CPU s', 'gflop_per_cpu_s', '.3g'),
    ('of peak', 'of_peak', '.0%'),
    ('per CPU s', 'rate', ',.4g'),
    ('GiB', 'peak_gib', '.2f'),
)


class Times(NamedTuple):
    """Seconds of each repeat, divided by how often it did something."""

    cpu: list[float]
    wall: list[float]


def cpu_seconds(pids=()):
    """User and system time of this process with all its threads, and of other processes."""
    total = time.process_time()
    for pid in pids:
        fields = pathlib.Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
        total += (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')
    return total


def repeat(function, repeats, per=1, pids=()):
    """Times of so many calls, each of which does something `per` times; one more warms up.

    Of slow functions it takes fewer, as many as fit into a minute, and at least three.
    """
    function()
    times = Times([], [])
    start = time.perf_counter()
    while len(times.cpu) < repeats:
        if len(times.cpu) >= LEAST and time.perf_counter() - start > ENOUGH:
            break
        cpu, wall = cpu_seconds(pids), time.perf_counter()
        function()
        times.cpu.append((cpu_seconds(pids) - cpu) / per)
        times.wall.append((time.perf_counter() - wall) / per)
    return times


def row(name, times, gflop=None, amount=None):
    """What was measured of one thing; `amount` of something was done each time."""
    cpu = statistics.median(times.cpu)
    result = {
        'name': name,
        'cpu': cpu,
        'cpu_min': min(times.cpu),
        'wall': statistics.median(times.wall),
        'wall_min': min(times.wall),
        'repeats': len(times.cpu),
    }
    if gflop is not None:
        result |= {'gflop': gflop, 'gflop_per_cpu_s': gflop / cpu}
    if amount is not None:
        result |= {'rate': amount / cpu, 'rate_max': amount / min(times.cpu)}
    return result


def peak_gib():
    """Most memory that this process has held so far."""
    scale = 1 if sys.platform == 'darwin' else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 2**30


def unit():
    """U in CPU seconds, measured by a process of its own that leaves nothing behind in this one."""
    environ = {**os.environ, 'JAX_PLATFORMS': 'cpu'}
    result = subprocess.run(
        [sys.executable, __file__], env=environ, check=True, capture_output=True, text=True
    )
    return float(result.stdout)


def product(repeats=9):
    """Median CPU seconds of the product that U is made of."""
    import jax
    import numpy as np

    values = np.random.default_rng(0).standard_normal((SIDE, SIDE), np.float32)
    matmul = jax.jit(lambda x: x @ x)
    values = jax.device_put(values)
    times = repeat(lambda: matmul(values).block_until_ready(), repeats)
    return statistics.median(times.cpu)


def main(doc, function, **options):
    """Run a benchmark from the command line: print its rows and the unit, before and after.

    `function(args)` yields rows; options are arguments of the parser by name.
    """
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    for name, kwargs in options.items():
        parser.add_argument(f'--{name}', **kwargs)
    parser.add_argument('--quick', action='store_true', help='few repeats, to see that it works')
    parser.add_argument('--json', type=pathlib.Path, help='file to write the rows to')
    args = parser.parse_args()
    units, rows = [unit()], []
    print(f'U = {units[0]:.4f} CPU s before')
    for result in function(args):
        rows.append(finish(result, units[0]))
        print(describe(rows[-1]), flush=True)
    units.append(unit())
    print(f'U = {units[1]:.4f} CPU s after')
    rows = [finish(x, statistics.mean(units)) for x in rows]
    if args.json:
        args.json.write_text(json.dumps({'machine': machine(), 'units': units, 'rows': rows}))


def finish(row, unit):
    """A row with what follows from the unit."""
    more = {'unit': unit, 'units': row['cpu'] / unit, 'units_min': row['cpu_min'] / unit}
    if 'gflop' in row:
        more['of_peak'] = row['gflop_per_cpu_s'] * unit / UNIT_GFLOP
    return {**row, **more}


def describe(row):
    """A row as a line of text."""
    parts = [f'{title} {row[key]:{form}}' for title, key, form in COLUMNS if key in row]
    return f'{row["name"]:28} ' + '  '.join(parts)


def machine():
    """Name of the processor, and how many of them this process may use."""
    name = platform.processor() or platform.machine()
    path = pathlib.Path('/proc/cpuinfo')
    if path.exists():
        lines = path.read_text().splitlines()
        name = next(
            (x.partition(':')[2].strip() for x in lines if x.startswith('model name')), name
        )
    return f'{name}, {len(os.sched_getaffinity(0))} processors'


if __name__ == '__main__':
    print(product())
