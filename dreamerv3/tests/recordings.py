"""Where the golden tests find the recorded numbers of the reference program.

The folder is the one named by the environment variable DREAMER_GOLDEN, by default the copy beside
this file. Tests go by the prefix of a file name, so other recordings of the same form work too.
"""

import json
import os
import pathlib

import numpy as np
import pytest


def folder() -> pathlib.Path:
    named = os.environ.get('DREAMER_GOLDEN')
    return pathlib.Path(named).expanduser() if named else pathlib.Path(__file__).parent / 'golden'


def paths(prefix: str) -> list[pathlib.Path]:
    """Recordings whose name begins with a prefix, sorted."""
    if not folder().is_dir():
        return []
    return sorted(x for x in folder().iterdir() if x.name.startswith(prefix))


def require(prefix: str) -> list[pathlib.Path]:
    """Like `paths`, but the test is skipped where there is none."""
    found = paths(prefix)
    if not found:
        pytest.skip(f'{folder()} holds no recording {prefix}*')
    return found


def load(path) -> tuple[dict, dict]:
    """Arrays of an .npz recording by key, without `meta`, and the parsed `meta`."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {k: file[k] for k in file}
    return arrays, json.loads(str(arrays.pop('meta'))) if 'meta' in arrays else {}


def load_json(path) -> dict:
    with open(path) as file:
        return json.load(file)
