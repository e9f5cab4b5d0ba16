"""Learning curves with confidence bands, and scores over many tasks, as PNG and SVG.

    embodied plot ~/logdir/cartpole
    embodied plot ours=~/logdir/atari official=scores/atari100k.json.gz --out atari

A SOURCE is a logdir, a folder with logdirs, a file TASK-METHOD-SEED.jsonl or one *.json.gz with a
list of {task, method, seed, xs, ys}; METHOD=SOURCE names what is in it. Runs of the same task and
method are seeds: thin lines, their mean and a 95% bootstrap interval. Steps count as they are
logged, action repeat included. Runs of tasks with agreed lowest and highest returns (Atari: random
and human, DMC: 0 and 1000) are also put together: IQM, median, mean and optimality gap, with
intervals stratified by task. The score of Crafter needs --env.crafter.logs True while training.
"""

import collections
import contextlib
import importlib.util
import pathlib
import re

import numpy as np

from ..core.logs import outputs
from . import curves, norms, runs, statistics


def arguments(parser):
    parser.add_argument('source', nargs='+', help='logdir, folder or file')
    parser.add_argument('--out', default='plot', help='name of the files without ending')
    parser.add_argument(
        '--metric', default=curves.SCORE, help='what is drawn (default %(default)s)'
    )
    parser.add_argument('--tasks', default='', help='regular expression of the tasks to take')
    parser.add_argument('--bins', type=int, default=30, help='points of a curve (default 30)')
    parser.add_argument('--steps', type=float, help='end of the axis (default: the longest run)')
    parser.add_argument(
        '--normalize',
        type=float,
        nargs=2,
        metavar=('LOW', 'HIGH'),
        help='returns that count as 0 and 1 for tasks without agreed ones',
    )
    parser.add_argument(
        '--resamples',
        type=int,
        default=statistics.RESAMPLES,
        help='of the bootstrap (default %(default)s)',
    )
    parser.add_argument('--title', default='', help='above the figure')


def run(args) -> int:
    check(args)
    found = curves.load(args.source, args.metric)
    found = [x for x in found if re.search(args.tasks, x.task)]
    if not found:
        raise ValueError(f'tasks: got {args.tasks!r}, allowed is a part of a task that is there')
    from . import figure

    tables = tabulate(found, args)
    panels = {}
    if args.metric == curves.SCORE:
        panels = together(tables, args)
    for task, methods in tables.items():
        panels[task] = {k: line(values, args.resamples) for k, values in methods.items()}
    print_tasks(panels, tables)
    print_crafter(found, args)
    page = figure.draw(panels, args.metric, args.title)
    for suffix in ('.png', '.svg'):
        path = pathlib.Path(args.out).expanduser()
        path = path.with_name(path.name + suffix)
        with writing(path):
            page.savefig(path, dpi=150)
        print(f'Wrote {path}')
    return 0


def check(args):
    if importlib.util.find_spec('matplotlib') is None:
        raise ValueError("plot: needs matplotlib, pip install 'dreamerv3-embodied[plot]'")
    for name in ('bins', 'resamples'):
        if getattr(args, name) < 1:
            raise ValueError(f'{name}: got {getattr(args, name)}, allowed is 1 or more')
    if args.steps is not None and not args.steps > 0:
        raise ValueError(f'steps: got {args.steps}, allowed is more than 0')
    if args.normalize and not args.normalize[0] < args.normalize[1]:
        raise ValueError(f'normalize: got {args.normalize}, allowed is LOW below HIGH')
    try:
        re.compile(args.tasks)
    except re.error as e:
        raise ValueError(
            f'tasks: got {args.tasks!r}, allowed is a regular expression: {e}'
        ) from None
    folder = pathlib.Path(args.out).expanduser().absolute().parent
    if not folder.is_dir():
        raise ValueError(f'out: got {args.out!r}, allowed is a name in a folder that exists')


def tabulate(found, args):
    """Steps (N,) and binned values (R, N) of the runs by task and method."""
    tables = collections.defaultdict(dict)
    for task in sorted({x.task for x in found}):
        mine = [x for x in found if x.task == task]
        edges = np.linspace(0, args.steps or max(x.xs.max() for x in mine), args.bins + 1)
        for method in dict.fromkeys(x.method for x in mine):
            values = [statistics.binned(x.xs, x.ys, edges) for x in mine if x.method == method]
            tables[task][method] = edges[1:], np.stack(values)
    return tables


def line(table, resamples):
    """Steps, mean, band and single runs of the seeds of one task and method."""
    xs, values = table
    mean = lambda values, tasks: statistics.mean(values)
    band = statistics.interval(mean, values, np.zeros(len(values)), resamples)
    return xs, statistics.mean(values), band, values


def together(tables, args):
    """Panels of normalised scores over all tasks, for methods that have done all of them."""
    bounds = {k: norms.bounds(k) or args.normalize for k in tables}
    missing = [k for k, v in bounds.items() if not v]
    if len(tables) < 2:
        return {}
    if missing:
        print(
            f'No scores over all tasks: {missing[0]} has no agreed lowest and highest return, '
            '--normalize LOW HIGH gives them'
        )
        return {}
    panels, rows = collections.defaultdict(dict), []
    methods = dict.fromkeys(k for x in tables.values() for k in x)
    for method in methods:
        if not all(method in x for x in tables.values()):
            print(f'No scores over all tasks of {method}, which has not done all of them')
            continue
        values, tasks = normalised({k: x[method][1] for k, x in tables.items()}, bounds)
        xs = np.arange(1, args.bins + 1) / args.bins
        for name, aggregate in statistics.AGGREGATES.items():
            point = aggregate(values, tasks)
            ends = statistics.interval(aggregate, values, tasks, args.resamples)
            panels[f'{name}, {len(tables)} tasks'][method] = xs, point, ends, ()
            rows.append({'over all tasks': name, 'method': method, **cells(point, ends)})
    if rows:
        print(runs.draw(rows, ('last', '95% interval')) + '\n')
    return panels


def normalised(values, bounds):
    """Normalised scores (R, N) of all runs, and the number of the task of each (R,)."""
    parts = [(v - bounds[k][0]) / (bounds[k][1] - bounds[k][0]) for k, v in values.items()]
    return np.concatenate(parts), np.repeat(np.arange(len(parts)), [len(x) for x in parts])


def print_tasks(panels, tables):
    rows = [
        {
            'task': task,
            'method': method,
            'runs': str(len(values)),
            'steps': f'{xs[last(panels[task][method][1])]:,.0f}',
            **cells(*panels[task][method][1:3]),
        }
        for task, methods in tables.items()
        for method, (xs, values) in methods.items()
    ]
    print(runs.draw(rows, ('runs', 'steps', 'last', '95% interval')))


def print_crafter(found, args):
    """Crafter score of each method, averaged over its runs."""
    groups = collections.defaultdict(list)
    for curve in found:
        if curve.crafter is not None:
            groups[curve.method].append(curve.crafter)
    mean = lambda values, tasks: statistics.mean(values)
    for method, scores in groups.items():
        scores = np.array(scores)
        ends = statistics.interval(mean, scores, np.zeros(len(scores)), args.resamples)
        text = f'Crafter score of {method}: {scores.mean():.1f}%, {len(scores)} runs'
        print(
            text + (f', 95% interval {ends[0]:.1f} to {ends[1]:.1f}' if ends[0] == ends[0] else '')
        )


def cells(point, ends):
    """Texts of the last bin in which there is something."""
    low, high = ends[:, last(point)]
    text = f'{outputs.number(low)} to {outputs.number(high)}' if np.isfinite(low) else '-'
    return {'last': outputs.number(point[last(point)]), '95% interval': text}


def last(point):
    """Index of the last value that is there."""
    return max(np.flatnonzero(np.isfinite(point)), default=-1)


@contextlib.contextmanager
def writing(path):
    try:
        yield
    except OSError as e:
        raise ValueError(f'out: {path} cannot be written: {e.strerror}') from None
