"""Finding and reading the files of chunks. What cannot be used costs a printed line."""

import pathlib
import re

import elements

from ..system import files, npz
from . import chunk as chunklib

VALUES = re.compile(r'([0-9A-Za-z]{1,22})-(\d{1,9})\.npz')


def scan(directory, log: bool = False) -> list[pathlib.Path]:
    """Chunk files in a directory, newest first. With `log` names the files that are none."""
    directory, found = pathlib.Path(directory), []
    for path in directory.iterdir() if directory.is_dir() else []:
        try:
            if path.name not in ('unsaved', 'values') and path.suffix != files.SUFFIX:
                chunklib.parse(path.name)
                found.append(path)
        except ValueError as e:
            if log:
                warn(path, e)
    return sorted(found, key=lambda x: x.name, reverse=True)


def scan_values(directory) -> dict[str, list[pathlib.Path]]:
    """Files of values in a directory of chunks by the id of the chunk, newest first."""
    found = {}
    folder = pathlib.Path(directory) / 'values'
    for path in folder.iterdir() if folder.is_dir() else []:
        if match := VALUES.fullmatch(path.name):
            found.setdefault(match.group(1), []).append((int(match.group(2)), path))
    return {k: [path for _, path in sorted(v, reverse=True)] for k, v in found.items()}


def read_chunk(path):
    """The chunk of a file, or None after one line that says what is wrong with it."""
    try:
        return chunklib.Chunk.load(path)
    except ValueError as e:
        elements.print(f'Skipped replay chunk {e}', color='yellow')
        return None


def read_values(path, chunk, spec, apart) -> dict:
    """Columns of a file of values. ValueError or OSError if they do not fit the chunk."""
    columns = npz.read(path)
    if not columns:
        raise ValueError('it is empty')
    if lacking := [k for k in apart if k not in columns and k not in chunk.columns]:
        raise ValueError(f'key {lacking[0]} is missing')
    for key, column in columns.items():
        if key not in apart:
            raise ValueError(f'key {key} does not belong there')
        dtype, shape = spec[key]
        if column.dtype != dtype or column.shape != (chunk.length, *shape):
            raise ValueError(
                f'key {key} is {column.dtype} {column.shape}, not {dtype} {(chunk.length, *shape)}'
            )
    return columns


def warn(path, error) -> None:
    elements.print(f'Skipped replay file {path}: {npz.describe(error)}', color='yellow')
