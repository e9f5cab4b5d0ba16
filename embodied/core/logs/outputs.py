"""Where metrics go: the terminal, JSON lines, scope, and others. Outputs of an elements.Logger.

An output is called with tuples (step, name, value); a value is a text or an array: a scalar, an
image (H, W[, C]) or a video (T, H, W, C), uint8 or float in [0, 1]. One that fails is reported once
and tried again with the next metrics; training goes on.
"""

import contextlib
import pathlib
import re
import shutil
import sys

from . import jsonl, scopes, tensorboard, trackers

TABLES = ('metrics.jsonl', 'scores.jsonl', 'eval_scores.jsonl')
FOLDERS = ('scope', 'tensorboard', 'wandb', 'mlflow')
# Packages that outputs need, which are not installed unless they are asked for.
PACKAGES = {'tensorboard': 'tensorboardX', 'wandb': 'wandb', 'mlflow': 'mlflow'}


def make_outputs(config, logdir: str | pathlib.Path, options: dict | None = None) -> list:
    """Outputs named in the `logger` block; the terminal is always there.

    options   of the whole run by key, for outputs that show them beside the metrics
    """
    logdir = pathlib.Path(logdir)
    outputs = [Safe(Terminal(config.filter))]
    if 'jsonl' in config.outputs:
        outputs.append(Safe(jsonl.JSONL(logdir / 'metrics.jsonl')))
        outputs.append(Safe(jsonl.JSONL(logdir / 'scores.jsonl', '^episode/score$')))
        outputs.append(Safe(jsonl.JSONL(logdir / 'eval_scores.jsonl', '^eval_episode/score$')))
    if 'scope' in config.outputs:
        outputs.append(Safe(scopes.Scope(logdir, config.fps)))
    if 'tensorboard' in config.outputs:
        outputs.append(Safe(tensorboard.TensorBoard(logdir, config.fps)))
    for name, tracker in (('wandb', trackers.WandB), ('mlflow', trackers.MLflow)):
        if name in config.outputs:
            outputs.append(Safe(tracker(logdir, options or {}, config.fps)))
    return outputs


def truncate(logdir: str | pathlib.Path, step: int) -> None:
    """Cut everything after a step from the files of all outputs that can be cut.

    For a run that goes on from a checkpoint, before its first write: the steps after the checkpoint
    come again.
    """
    logdir = pathlib.Path(logdir)
    for name in TABLES:
        jsonl.truncate(logdir / name, step)
    scopes.truncate(logdir, step)


def set_aside(logdir: str | pathlib.Path) -> pathlib.Path | None:
    """Move the files of all outputs to a new folder `before-<n>`, and return it if there are any.

    For a run that begins anew in a folder with the logs of another, whose steps would mix.
    """
    logdir = pathlib.Path(logdir)
    found = [logdir / x for x in (*TABLES, *FOLDERS) if (logdir / x).exists()]
    if not found:
        return None
    count = 1
    while (logdir / f'before-{count}').exists():
        count += 1
    folder = logdir / f'before-{count}'
    folder.mkdir()
    for path in found:
        path.rename(folder / path.name)
    return folder


class Safe:
    """An output whose errors are one line each, told once per kind."""

    def __init__(self, output, stream=None):
        self.output = output
        self.stream = sys.stderr if stream is None else stream
        self.told = set()

    def __call__(self, summaries):
        with self._telling('will try again'):
            self.output(summaries)
            self.told.clear()

    def wait(self):
        """The last attempt for what failed, and the end."""
        with self._telling('at the end of the run'):
            if self.told:
                self.output(())
            if hasattr(self.output, 'close'):
                self.output.close()

    @contextlib.contextmanager
    def _telling(self, outlook):
        try:
            yield
        except Exception as e:
            text = ' '.join(f'{type(e).__name__}: {e}'.split())
            if (outlook, text) not in self.told:
                self.told.add((outlook, text))
                name = type(self.output).__name__
                print(f'Output {name} failed, {outlook}: {text}', file=self.stream, flush=True)


class Terminal:
    """Scalars whose name matches, in columns on a terminal, else one a line."""

    def __init__(self, pattern: str = '', stream=None):
        self.pattern = re.compile(pattern)
        self.stream = sys.stdout if stream is None else stream

    def __call__(self, summaries):
        scalars = {
            k: number(float(v))
            for _, k, v in summaries
            if not isinstance(v, str) and v.ndim == 0 and self.pattern.search(k)
        }
        if not scalars:
            return
        live = self.stream.isatty()
        width = max(map(len, scalars)) + 1
        cells = [f'  {k:<{width}}{v:>9}' for k, v in sorted(scalars.items())]
        count = max(1, shutil.get_terminal_size().columns // len(cells[0])) if live else 1
        rows = -(-len(cells) // count)
        lines = [''.join(cells[i::rows]) for i in range(rows)]
        # On a terminal the line of the progress may stand here.
        head = ('\r\x1b[K' if live else '') + f'Step {max(s for s, _, _ in summaries):,}'
        self.stream.write('\n'.join([head, *lines]) + '\n')
        self.stream.flush()


def number(value: float) -> str:
    """Short text of a number: 0.123, 12.3, 1.2e+06."""
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f'{value:.4g}' if abs(value) < 1000 else f'{value:.0f}'
    return f'{value:.2e}'
