"""Runs all benchmarks of speed, each in a process of its own, and writes what they measured.

    python benchmarks/all.py [--quick] [--only train policy] [--gpu]

Results go to benchmarks/results.json, and as tables between the marks in docs/performance.md; those
of benchmarks that are not run this time stay. With `--gpu` the sizes for one are run instead, on
it. `--quick` only shows that everything works: it takes few repeats and writes nothing.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import measure

SUITE = {
    'train': [
        *(f'--kind image --size {x}' for x in ('size1m', 'size12m', 'size25m')),
        *(f'--kind proprio --size {x}' for x in ('size1m', 'size12m', 'size25m')),
    ],
    'policy': ['--kind image', '--kind proprio'],
    'replay': [''],
    'first_update': ['--kind image', '--kind proprio'],
    'end_to_end': [''],
}
GPU = {
    'train': [
        '--kind proprio --size size1m',
        *(f'--kind image --size {x}' for x in ('size1m', 'size12m', 'size50m', 'size200m')),
    ],
    'policy': ['--kind image', '--kind proprio'],
    'first_update': ['--kind image'],
    'end_to_end': [''],
}
QUICK = {x: ['--kind proprio'] for x in ('train', 'policy', 'first_update')}
RESULTS = measure.ROOT / 'benchmarks' / 'results.json'
PEERS = measure.ROOT / 'benchmarks' / 'peers.json'
DOCS = measure.ROOT / 'docs' / 'performance.md'
PEER_UNIT = 0.078  # U of the machine that the figures of others are from, in CPU seconds.
BEGIN, END = '<!-- measured -->', '<!-- end of measured -->'


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--quick', action='store_true', help='few repeats, nothing is written')
    parser.add_argument('--only', nargs='+', choices=SUITE, default=list(SUITE))
    parser.add_argument('--gpu', action='store_true', help='sizes for a GPU, in bfloat16')
    args = parser.parse_args()
    suite = GPU if args.gpu else {**SUITE, **QUICK} if args.quick else SUITE
    rows, failed = [], []
    for name in (x for x in suite if x in args.only):
        for flags in suite[name]:
            found = run(name, [*flags.split(), *(['--quick'] if args.quick else [])])
            rows += found
            if not found:
                failed.append(f'{name} {flags}')
    if not args.quick and rows:
        write(rows)
    if failed:
        sys.exit(f'Failed: {", ".join(failed)}')


def run(name, flags):
    """Rows of one benchmark, none if it failed."""
    print(f'\n{name} {" ".join(flags)}', flush=True)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / 'rows.json'
        command = [sys.executable, f'{name}.py', *flags, '--json', str(path)]
        environ = {**os.environ, 'OMP_NUM_THREADS': '1'}
        result = subprocess.run(command, cwd=RESULTS.parent, env=environ)
        if result.returncode:
            return []
        content = json.loads(path.read_text())
    more = {'machine': content['machine'], 'date': time.strftime('%Y-%m-%d')}
    return [{**x, **more} for x in content['rows']]


def write(rows):
    """Keep rows by name, and show all of them in the docs."""
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    kept |= {x['name']: x for x in rows}
    RESULTS.write_text(json.dumps(kept, indent=1) + '\n')
    text = DOCS.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    DOCS.write_text(f'{before}{BEGIN}\n{tables(kept)}\n{END}{after}')
    print(f'Wrote {RESULTS} and {DOCS}')


def tables(rows):
    """Ours beside others where there are figures of them, then all that was measured."""
    peers = json.loads(PEERS.read_text())
    others = ('official', 'official, jax 0.10', 'best peer', 'goal')
    lines = [head('', *others, 'ours')]
    for name, figures in peers.items():
        if name in rows:
            lines.append(line(name, *(figures.get(x, '') for x in others), ours(rows[name])))
    titles = [title for title, _, _ in measure.COLUMNS]
    lines += ['', head('', *titles, 'U in CPU s')]
    for name, row in rows.items():
        cells = [f'{row[key]:{form}}' if key in row else '' for _, key, form in measure.COLUMNS]
        lines.append(line(name, *cells, f'{row["unit"]:.3f}'))
    machines = sorted({f'{x["machine"]}, {x["date"]}' for x in rows.values()})
    return '\n'.join([*lines, '', 'Measured on: ' + '; '.join(machines) + '.'])


def ours(row):
    """The figure that compares with those of others: U, milliseconds or a rate."""
    if row['name'].startswith('policy'):
        scaled = 1000 * row['cpu_min'] * PEER_UNIT / row['unit']
        return f'{1000 * row["wall_min"]:.2f} ms; {scaled:.2f} CPU ms at their U'
    if 'rate' in row:
        return f'{row["rate"]:,.0f} per CPU s'
    memory = f', {row["peak_gib"]:.2f} GiB' if row['name'].startswith('train') else ''
    return f'{row["units"]:.1f} U (at best {row["units_min"]:.1f}){memory}'


def head(*cells):
    return line(*cells) + '\n' + line(*['---'] * len(cells))


def line(*cells):
    return f'| {" | ".join(cells)} |'


if __name__ == '__main__':
    main()
