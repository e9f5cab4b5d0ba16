"""How long the program takes to say that something is wrong, and to print its help.

    python benchmarks/startup.py [REPEATS]

Prints a Markdown table: exit code, lines on the error stream, whether JAX was imported, and the
least wall and CPU seconds of the whole process.
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
CASES = {
    'help': ['--help'],
    'version': ['--version'],
    'unknown flag': ['--run.env', '3'],
    'unknown block': ['--configs', 'crafterr'],
    'wrong type': ['--run.envs', 'many'],
    'negative size': ['--batch_size', '-1'],
    'zero size': ['--batch_length', '0'],
    'replay smaller than a batch': ['--replay.size', '100'],
    'blocks do not divide deter': ['--agent.dyn.rssm.deter', '100'],
    'unknown suite': ['--task', 'nosuch_task'],
    'unknown task': ['--task', 'dummy_nosuch'],
    'unknown gym id': ['--task', 'gym_CartPol-v1'],
    'missing package': ['--task', 'gym_nosuchpackage:Env-v0'],
    'unwritable logdir': ['--logdir', '/dev/null/run'],
    'GPU where there is none': ['--jax.platform', 'cuda'],
}
# Tells on exit whether JAX came in, without being part of the program.
PROGRAM = """
import runpy, sys
sys.argv = {argv!r}
try:
    runpy.run_path(sys.argv[0], run_name='__main__')
finally:
    print('JAX', 'jax' in sys.modules)
"""


def measure(flags):
    argv = [str(ROOT / 'dreamerv3' / 'main.py'), *flags]
    # Where there is a GPU it is hidden, so that the case is the same on every machine.
    env = {**os.environ, 'CUDA_VISIBLE_DEVICES': '', 'HOME': tempfile.gettempdir()}
    before, start = os.times(), time.perf_counter()
    code = PROGRAM.format(argv=argv)
    result = subprocess.run([sys.executable, '-c', code], env=env, capture_output=True, text=True)
    wall, after = time.perf_counter() - start, os.times()
    cpu = sum(after[2:4]) - sum(before[2:4])
    return wall, cpu, result


def main():
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    print('| case | exit code | error lines | JAX imported | wall s | CPU s |')
    print('| --- | --- | --- | --- | --- | --- |')
    for name, flags in CASES.items():
        runs = [measure(flags) for _ in range(repeats)]
        wall, cpu = min(x[0] for x in runs), min(x[1] for x in runs)
        result = runs[-1][2]
        jax = 'yes' if result.stdout.endswith('JAX True\n') else 'no'
        lines = len(result.stderr.splitlines())
        print(f'| {name} | {result.returncode} | {lines} | {jax} | {wall:.2f} | {cpu:.2f} |')


if __name__ == '__main__':
    main()
