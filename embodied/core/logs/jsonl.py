"""Scalars as JSON lines: one object per step, steps strictly rise, no line is torn."""

import json
import math
import os
import pathlib
import re


class JSONL:
    """Appends {"step": ..., name: value, ...} of the names that match.

    Numbers that JSON does not have (NaN, infinities) are null. A second write at the same step
    joins the line that is there. What could not be written is kept for the next call.
    """

    def __init__(self, filename: str | pathlib.Path, pattern: str = '', limit: int = 10000):
        self.filename = pathlib.Path(filename)
        self.pattern = re.compile(pattern)
        self.limit = limit
        self.rows = {}

    def __call__(self, summaries):
        for step, name, value in summaries:
            if not isinstance(value, str) and value.ndim == 0 and self.pattern.search(name):
                value = float(value)
                row = self.rows.setdefault(int(step), {})
                row[name] = value if math.isfinite(value) else None
        while len(self.rows) > self.limit:
            del self.rows[min(self.rows)]
        if self.rows:
            self._write()
            self.rows.clear()

    def _write(self):
        self.filename.parent.mkdir(parents=True, exist_ok=True)
        with self.filename.open('a+b', buffering=0) as f:
            start, last = _newest(f)
            steps = sorted(self.rows)
            if last is not None and last['step'] == steps[0]:
                self.rows[steps[0]] = {**last, **self.rows[steps[0]]}
            else:
                start = _end(f)
            lines = [json.dumps({'step': k, **self.rows[k]}) for k in steps]
            data = ('\n'.join(lines) + '\n').encode()
            f.truncate(start)
            if f.write(data) != len(data):
                raise OSError(f'{self.filename} was written in part, is the disk full?')


def read(filename: str | pathlib.Path, tail: int | None = None) -> list[dict]:
    """Rows of a file that may be being written, without those that are torn.

    tail   read only so many bytes at the end
    """
    with pathlib.Path(filename).open('rb') as f:
        cut = tail is not None and _end(f) > tail
        f.seek(-tail if cut else 0, os.SEEK_END if cut else os.SEEK_SET)
        lines = f.read().splitlines(keepends=True)
    return [row for x in lines[cut:] if (row := _parse(x)) is not None]


def truncate(filename: pathlib.Path, step: int) -> None:
    """Cut rows after a step, and a torn end."""
    if not filename.exists():
        return
    with filename.open('r+b', buffering=0) as f:
        _newest(f)
        f.seek(0)
        position = 0
        for line in f.read().splitlines(keepends=True):
            row = _parse(line)
            if row is not None and row['step'] > step:
                break
            position += len(line)
        f.truncate(position)


def _newest(f):
    """Position and content of the last row, after cutting what is torn; (0, None) without any."""
    end = _end(f)
    while end:
        start = _line_start(f, end)
        f.seek(start)
        row = _parse(f.read(end - start))
        if row is not None:
            return start, row
        f.truncate(start)
        end = start
    return 0, None


def _line_start(f, end, block=1 << 16):
    """Start of the line whose last byte is before `end`."""
    stop = end - 1
    while stop > 0:
        start = max(0, stop - block)
        f.seek(start)
        found = f.read(stop - start).rfind(b'\n')
        if found >= 0:
            return start + found + 1
        stop = start
    return 0


def _parse(line):
    if not line.endswith(b'\n'):
        return None
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and isinstance(row.get('step'), int) else None


def _end(f):
    return f.seek(0, os.SEEK_END)
