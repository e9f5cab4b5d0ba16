"""A table of all runs in a folder.

state     running as long as the process lives; finished with all of run.steps; else stopped, and
          the same command goes on with it
options   in which a run is not like most of the others
score     mean of the newest 20 training episodes; eval is that of the newest evaluation
fps       environment steps per second in the last log interval
"""

import json

from ..core.logs import outputs
from . import records

COLUMNS = ('run', 'state', 'task', 'step', 'score', 'eval', 'fps', 'options')


def arguments(parser):
    parser.add_argument('folder', help='logdir, or a folder with logdirs')
    parser.add_argument('--all', action='store_true', help='all options in which runs differ')
    parser.add_argument('--json', action='store_true', help='JSON, one line per run')


def run(args) -> int:
    found = records.find(args.folder)
    changes = records.differences(found, [x for x in records.INCIDENTAL if x != 'seed'])
    table = [entry(x, y) for x, y in zip(found, changes, strict=True)]
    if args.json:
        for row in table:
            print(json.dumps(row))
        return 0
    print(draw([readable(x, None if args.all else 4) for x in table]))
    return 0


def entry(record, changes):
    """The row of a run."""
    values = record.name, record.state, record.task, record.step, record.score, record.evaluation
    return dict(zip(COLUMNS, (*values, record.fps, changes), strict=True))


def readable(row, limit):
    cells = {k: '-' if v is None or v == '' else str(v) for k, v in row.items()}
    for key in ('score', 'eval', 'fps'):
        if row[key] is not None:
            cells[key] = outputs.number(row[key])
    if row['step'] is not None:
        cells['step'] = f'{row["step"]:,}'
    return {**cells, 'options': records.label(row['options'], limit)}


def draw(table: list[dict], right=('step', 'score', 'eval', 'fps')) -> str:
    """Rows of texts in columns under their names."""
    table = [{k: k for k in table[0]}, *table]
    widths = {k: max(len(x[k]) for x in table) for k in table[0]}
    place = lambda k, x: x.rjust(widths[k]) if k in right else x.ljust(widths[k])
    return '\n'.join('  '.join(place(k, v) for k, v in row.items()).rstrip() for row in table)
