"""Scalars, texts, images and videos as a scope folder, to look at with its viewer."""

import pathlib
import re
import shutil

import numpy as np

# A row of every table is a step and 8 bytes; scalars are big-endian, the others native.
ROW = 16


class Scope:
    """Writes LOGDIR/scope. Vectors and arrays with more axes than a video are left out.

    fps   frames per second of the videos
    """

    def __init__(self, logdir: str | pathlib.Path, fps: int = 15):
        self.logdir = pathlib.Path(logdir)
        self.fps = fps
        self.formats = {}

    def __call__(self, summaries):
        self._start()
        columns = {}
        for step, name, value in summaries:
            value = prepare(value)
            kind = kind_of(value)
            if kind:
                steps, values = columns.setdefault((key(name), kind), ([], []))
                steps.append(int(step))
                values.append(value)
        error = None
        for (name, kind), rows in columns.items():
            try:
                self._write(name, self.formats[kind], *rows)
            except OSError:
                raise
            except Exception as e:
                # One that cannot be encoded does not keep the others out.
                error = error or e
        if error:
            raise error

    def _start(self):
        if self.formats:
            return
        # Only now, since it loads the image library.
        from scope import formats

        (self.logdir / 'scope').mkdir(parents=True, exist_ok=True)
        mend(self.logdir)
        self.formats = {
            'text': formats.Text(),
            'scalar': formats.Float(),
            'image': formats.Image(),
            'video': formats.Video(fps=self.fps),
        }

    def _write(self, name, fmt, steps, values):
        # The formats rather than scope.Writer, which after an error writes columns twice.
        path = self.logdir / 'scope' / f'{name.replace("/", "-")}.{fmt.extension}'
        fmt.create(path)
        fmt.write(path, steps, values)


def kind_of(value):
    if isinstance(value, (str, float)):
        return 'text' if isinstance(value, str) else 'scalar'
    return {3: 'image', 4: 'video'}.get(np.ndim(value))


def key(name: str) -> str:
    """Name in the characters that scope reads back."""
    return re.sub('[^a-z0-9_/]', '_', name.lower().lstrip('/'))


def prepare(value):
    """Value as scope takes it: uint8, 1 or 3 channels, even sides of videos; others stay."""
    if isinstance(value, str):
        return value
    value = np.asarray(value)
    if value.ndim == 0:
        return float(value)
    if value.ndim not in (2, 3, 4):
        return value
    value = value[..., None] if value.ndim == 2 else value
    if value.dtype != np.uint8:
        value = np.nan_to_num(np.asarray(value, np.float32))
        value = (255 * np.clip(value, 0, 1)).round().astype(np.uint8)
    if value.shape[-1] not in (1, 3):
        value = value[..., :3] if value.shape[-1] > 3 else value[..., :1]
    if value.ndim == 4:
        odd = [(0, n % 2) for n in value.shape[1:3]]
        value = np.pad(value, [(0, 0), *odd, (0, 0)])
    return value


def write_video(path: pathlib.Path, frames, fps: int = 15) -> None:
    """Frames (T, H, W, C) as a file of their own, an mp4."""
    from scope import formats

    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(formats.Video(fps=fps).encode(prepare(frames)))


def read(path: pathlib.Path) -> tuple[list[int], list]:
    """Steps and values of a column that may be being written; of media, the names of the files."""
    scalars = path.suffix == '.float'
    data = (path if scalars else path / 'index').read_bytes()
    kind = [('step', '>i8'), ('value', '>f8')] if scalars else [('step', '=i8'), ('value', 'V8')]
    rows = np.frombuffer(data[: len(data) // ROW * ROW], kind)
    steps = rows['step'].tolist()
    if scalars:
        return steps, rows['value'].tolist()
    pairs = zip(steps, rows['value'], strict=True)
    return steps, [f'{step:020}-{ident.tobytes().hex()}{path.suffix}' for step, ident in pairs]


def mend(logdir: pathlib.Path) -> None:
    """Cut a torn row at the end of any table."""
    for table, _ in _tables(logdir):
        size = table.stat().st_size
        if size % ROW:
            _cut(table, size // ROW)


def truncate(logdir: pathlib.Path, step: int) -> None:
    """Cut rows after a step."""
    mend(logdir)
    for table, order in _tables(logdir):
        steps = np.fromfile(table, [('step', f'{order}i8'), ('value', 'V8')])['step']
        after = np.flatnonzero(steps > step)
        if len(after):
            _cut(table, after[0])


def _tables(logdir):
    folder = pathlib.Path(logdir) / 'scope'
    yield from ((x, '>') for x in sorted(folder.glob('*.float')))
    yield from ((x, '=') for x in sorted(folder.glob('*/index')))


def _cut(table, rows):
    if not rows:
        # A column without rows is one that cannot be read back.
        table.unlink() if table.suffix == '.float' else shutil.rmtree(table.parent)
        return
    with table.open('r+b') as f:
        f.truncate(int(rows) * ROW)
