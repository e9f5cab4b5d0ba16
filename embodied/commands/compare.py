"""In which options and metrics two runs differ.

Metrics are those of the terminal, or of --metrics, averaged over the last tenth of the steps that
both runs have made. So the one that has gone on longer has no advantage.
"""

import re

import numpy as np

from ..core.logs import outputs
from . import records, runs

METRICS = r'score|length|^fps/|train/loss/|train/rand/'
WINDOW = 0.1  # Share of the common steps over which metrics are averaged.


def arguments(parser):
    parser.add_argument('first', help='logdir')
    parser.add_argument('second', help='logdir')
    parser.add_argument('--metrics', default=METRICS, help='regular expression of their names')


def run(args) -> int:
    try:
        pattern = re.compile(args.metrics)
    except re.error as e:
        raise ValueError(
            f'metrics: got {args.metrics!r}, allowed is a regular expression: {e}'
        ) from None
    pair = [single(k, getattr(args, k)) for k in ('first', 'second')]
    print_options(pair)
    print()
    print_metrics(pair, pattern)
    return 0


def single(key, folder):
    """The run of a folder; ValueError if there is none."""
    found = [x for x in records.find(folder) if str(x.folder) == str(folder).rstrip('/')]
    if not found:
        raise ValueError(f'{key}: got {folder!r}, allowed is the logdir of a run')
    return found[0]


def print_options(pair):
    first, second = (x.options for x in pair)
    rows = [
        {'option': k, 'first': shown(first.get(k)), 'second': shown(second.get(k))}
        for k in {**first, **second}
        if k != 'logdir' and first.get(k) != second.get(k)
    ]
    print(runs.draw(rows, ()) if rows else 'All options are the same.')


def print_metrics(pair, pattern):
    tables = [records.rows(x.folder / 'metrics.jsonl') for x in pair]
    if not all(tables):
        print('There are no metrics of both.')
        return
    stop = min(table[-1]['step'] for table in tables)
    start = stop * (1 - WINDOW)
    means = [averages(table, start, stop) for table in tables]
    names = [k for k in {**means[0], **means[1]} if pattern.search(k)]
    rows = [metric(k, means[0].get(k), means[1].get(k)) for k in names]
    print(f'Metrics at steps {start:,.0f} to {stop:,}')
    print(runs.draw(rows, ('first', 'second', 'change')) if rows else 'None has such a name.')


def metric(name, first, second):
    both = first is not None and second is not None
    relative = f'{second / first - 1:+.1%}' if both and first else '-'
    return {'metric': name, 'first': short(first), 'second': short(second), 'change': relative}


def averages(table, start, stop):
    """Mean of each metric between two steps."""
    values = {}
    for row in table:
        if start <= row['step'] <= stop:
            for key, value in row.items():
                if value is not None and key != 'step':
                    values.setdefault(key, []).append(value)
    return {k: float(np.mean(v)) for k, v in values.items()}


def short(value):
    return '-' if value is None else outputs.number(value)


def shown(value):
    return '-' if value is None else records.text(value) or "''"
