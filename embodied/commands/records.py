"""What the folder of a run tells: its options, how far it is, its scores. Nothing is written."""

import collections
import functools
import json
import os
import pathlib

import numpy as np

from .. import config as options
from ..core.logs import jsonl
from ..core.system import runlock

DEPTH = 5  # Folders below the one that is asked for in which runs are looked for.
TAIL = 1 << 18  # Bytes at the end of a table in which the newest rows are.
EPISODES = 20  # The score of a run is the mean of so many newest episodes.
# Options that say where or how long a run goes, not what it is.
INCIDENTAL = ('logdir', 'task', 'seed', 'script', 'run.steps', 'run.duration')


class Record:
    """One run. What is absent or cannot be read is None or empty."""

    def __init__(self, folder: pathlib.Path, name: str = ''):
        self.folder = pathlib.Path(folder)
        self.name = name or self.folder.name

    @functools.cached_property
    def options(self) -> dict:
        """Values of its config.yaml by key."""
        try:
            return options.load(self.folder / 'config.yaml')
        except ValueError:
            return {}

    @property
    def task(self) -> str:
        return str(self.options.get('task', ''))

    @functools.cached_property
    def newest(self) -> dict:
        """The newest value of each metric, as far as it is in the last rows."""
        row = {}
        for new in rows(self.folder / 'metrics.jsonl', TAIL):
            row |= {k: v for k, v in new.items() if v is not None}
        return row

    @property
    def step(self) -> int | None:
        return self.newest.get('step')

    @property
    def fps(self) -> float | None:
        """Environment steps per second in the last log interval."""
        return self.newest.get('fps/policy')

    @functools.cached_property
    def score(self) -> float | None:
        """Mean of the newest training episodes."""
        scores = [x['episode/score'] for x in rows(self.folder / 'scores.jsonl', TAIL)]
        scores = [x for x in scores if x is not None][-EPISODES:]
        return float(np.mean(scores)) if scores else None

    @functools.cached_property
    def evaluation(self) -> float | None:
        """Mean score of the newest evaluation."""
        try:
            return json.loads((self.folder / 'eval.json').read_text())['score_mean']
        except (OSError, ValueError, LookupError, TypeError):
            return None

    @functools.cached_property
    def state(self) -> str:
        """`running` as long as its process lives, `finished` with all its steps, else `stopped`."""
        if runlock.held(self.folder):
            return 'running'
        if self.options.get('script') == 'eval_only':
            return 'stopped' if self.evaluation is None else 'finished'
        done = self.step is not None and self.step >= self.total
        return 'finished' if done else 'stopped'

    @property
    def total(self) -> float:
        """Steps at its end, counted as its logs do."""
        suite = self.task.partition('_')[0]
        return self.options.get('run.steps', np.inf) * self.options.get(f'env.{suite}.repeat', 1)


def find(folder: str | pathlib.Path) -> list[Record]:
    """Runs in a folder, itself included, named by their path in it. ValueError without any."""
    root = pathlib.Path(folder).expanduser()
    found = [Record(x, name(x, root)) for x in walk(root, DEPTH)]
    if not found:
        raise ValueError(f'folder: got {str(folder)!r}, allowed is a logdir or a folder with them')
    return sorted(found, key=lambda x: x.name)


def walk(folder, depth):
    if is_run(folder):
        yield folder
        # Evaluations of a run are in its folder.
        yield from (x for x in folder.glob('eval-*') if is_run(x))
    elif depth and folder.is_dir():
        try:
            children = [x.path for x in os.scandir(folder) if x.is_dir() and x.name[0] != '.']
        except OSError:
            return
        for child in children:
            yield from walk(pathlib.Path(child), depth - 1)


def is_run(folder):
    return (folder / 'config.yaml').is_file() or (folder / 'metrics.jsonl').is_file()


def name(folder, root):
    return folder.absolute().name if folder == root else str(folder.relative_to(root))


def rows(path, tail=None):
    try:
        return jsonl.read(path, tail)
    except OSError:
        return []


def differences(records: list[Record], ignore=INCIDENTAL) -> list[dict]:
    """For each run, the options in which it is not like most of those that have them."""
    values = collections.defaultdict(collections.Counter)
    for record in records:
        for key, value in record.options.items():
            values[key][value] += 1
    # What belongs to another suite does not matter to a run.
    usual = {k: x.most_common(1)[0][0] for k, x in values.items() if len(x) > 1 and k not in ignore}
    return [
        {k: x.options[k] for k in usual if k in x.options and x.options[k] != usual[k]}
        for x in records
    ]


def label(changes: dict, limit: int | None = 4) -> str:
    """Options as a short text: `units=64 lr=0.001`, equal ones with the same last part once."""
    texts = dict.fromkeys(f'{k.rpartition(".")[-1]}={text(v)}' for k, v in changes.items())
    shown = list(texts)[:limit]
    more = [f'and {len(texts) - len(shown)} more'] if len(texts) > len(shown) else []
    return ' '.join([*shown, *more])


def text(value):
    """As it is given on the command line, without spaces."""
    return ','.join(map(str, value)) if isinstance(value, tuple) else str(value)
