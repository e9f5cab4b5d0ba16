"""Learning curves from where they are: logdirs, tables of scores, released scores.

logdir               metrics.jsonl, scores.jsonl and config.yaml of a run
TASK-METHOD-SEED.jsonl      the scores.jsonl of a run, kept under this name
*.json or *.json.gz         a list of {task, method, seed, xs, ys}
"""

import gzip
import json
import pathlib
import re
from typing import NamedTuple

import numpy as np

from . import norms, records

SCORE = 'episode/score'
# `any` is the share of episodes with the achievement, see core/episodes.py.
ACHIEVEMENT = re.compile(r'epstats/log/achievement_(\w+)/any')


class Curve(NamedTuple):
    """One metric of one run over environment steps."""

    task: str
    method: str
    seed: str
    xs: np.ndarray
    ys: np.ndarray
    crafter: float | None = None  # Crafter score of all episodes, in percent.


def load(sources: list[str], metric: str = SCORE) -> list[Curve]:
    """Curves of paths, each `PATH` or `METHOD=PATH`. ValueError names one without any."""
    result = []
    for source in sources:
        method, path = named(source)
        if path.is_dir():
            found = of_runs(path, method, metric) + of_files(path, method, metric)
        else:
            found = of_file(path, method, metric)
        if not found:
            raise ValueError(
                f'source: got {source!r}, allowed are logdirs, folders with them, and files '
                f'TASK-METHOD-SEED.jsonl or *.json.gz, with the metric {metric!r}'
            )
        result += found
    return result


def named(source):
    method, sign, path = source.partition('=')
    if not sign or pathlib.Path(source).exists():
        method, path = '', source
    path = pathlib.Path(path).expanduser()
    if not path.exists():
        raise ValueError(f'source: got {source!r}, allowed are files and folders that exist')
    return method, path


def of_runs(folder, method, metric):
    """Curves of the runs in a folder. Runs with other options are another method."""
    try:
        found = [x for x in records.find(folder) if x.options.get('script') != 'eval_only']
    except ValueError:
        return []
    base = method or folder.absolute().name
    names = [records.label(x) for x in records.differences(found)]
    curves = []
    for record, name in zip(found, names, strict=True):
        table = records.rows(record.folder / 'scores.jsonl') if metric == SCORE else []
        table = table or records.rows(record.folder / 'metrics.jsonl')
        seed = str(record.options.get('seed', record.name))
        label = f'{base} {name}'.strip()
        curves.append(of_rows(record.task or 'task', label, seed, table, metric))
    curves = [
        curve._replace(crafter=crafter(record.folder)) if curve else None
        for curve, record in zip(curves, found, strict=True)
    ]
    return [x for x in curves if x]


def of_files(folder, method, metric):
    """Curves of the files of scores in a folder."""
    if (folder / 'metrics.jsonl').exists() or (folder / 'scores.jsonl').exists():
        return []
    paths = sorted([*folder.glob('*-*-*.jsonl'), *folder.glob('*.json.gz')])
    return [curve for x in paths for curve in of_file(x, method, metric)]


def of_file(path, method, metric):
    if path.suffix == '.jsonl':
        parts = path.stem.rsplit('-', 2)
        task, group, seed = parts if len(parts) == 3 else ('task', path.stem, '0')
        curve = of_rows(task, method or group, seed, records.rows(path), metric)
        return [curve] if curve else []
    if path.suffix not in ('.json', '.gz') or metric != SCORE:
        return []
    try:
        with (gzip.open if path.suffix == '.gz' else open)(path) as f:
            runs = json.load(f)
        return [released(x, method) for x in runs]
    except (OSError, EOFError, ValueError, LookupError, TypeError) as e:
        raise ValueError(
            f'source: got {str(path)!r}, allowed is a list of task, method, seed, xs and ys: {e!r}'
        ) from None


def released(run, method):
    xs, ys = (np.array(run[k], np.float64) for k in ('xs', 'ys'))  # null becomes NaN.
    if xs.ndim != 1 or xs.shape != ys.shape:
        raise ValueError('xs and ys differ')
    return Curve(run['task'], method or run['method'], str(run['seed']), xs, ys)


def of_rows(task, method, seed, rows, metric):
    pairs = [(x['step'], x[metric]) for x in rows if x.get(metric) is not None]
    if not pairs:
        return None
    return Curve(task, method, seed, *np.array(pairs, np.float64).T)


def crafter(folder):
    """Crafter score of a run that logs achievements, over all its episodes; else None.

    Each row of metrics has the share of the episodes since the row before.
    """
    steps = [x['step'] for x in records.rows(folder / 'scores.jsonl')]
    table = records.rows(folder / 'metrics.jsonl')
    ends = np.searchsorted(steps, [x['step'] for x in table], side='right')
    episodes = np.diff(ends, prepend=0)
    totals, amount = {}, 0
    for row, count in zip(table, episodes, strict=True):
        shares = {k: v for k, v in row.items() if v is not None and ACHIEVEMENT.fullmatch(k)}
        amount += count if shares else 0
        for key, value in shares.items():
            totals[key] = totals.get(key, 0.0) + count * value
    if not amount:
        return None
    return norms.crafter(np.array([100 * x / amount for x in totals.values()]))
