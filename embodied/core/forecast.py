"""How much memory and disk a replay will need once it is full, and whether this machine has it."""

import pathlib
import shutil
from typing import NamedTuple

import elements

from . import replay
from .buffer import chunk
from .system import hardware

GB = 1e9


class Need(NamedTuple):
    """Of a replay with so many steps, in bytes."""

    steps: int
    memory: int
    disk: int


def need(spaces: dict, entries: dict, steps: int, ram_gb: float = 0) -> Need:
    """What `steps` steps with spaces of a transition and of what an agent adds to it will take.

    Of what it adds, which updates change, the disk holds two copies while the run is saved.
    """
    added = chunk.step_bytes(spec(entries)) - chunk.step_bytes({})
    step = chunk.step_bytes(spec(spaces)) + added
    steps = min(steps, replay.fitting(step, ram_gb)) if ram_gb else steps
    return Need(steps, steps * (step + replay.ITEM_BYTES), steps * (step + added))


def spec(spaces: dict[str, elements.Space]) -> dict:
    return {k: (s.dtype, s.shape) for k, s in spaces.items()}


def warning(need: Need, folder) -> str:
    """A line that says what of a need is too much for this machine, '' if nothing is.

    What the folder of the replay holds already is its own.
    """
    memory, disk = hardware.memory(), space(folder)
    lacks = []
    for kind, amount, have in (('memory', need.memory, memory), ('disk', need.disk, disk)):
        if have is not None and amount > have:
            lacks.append(f'{size(amount)} of {kind}, you have {size(have)}')
    if not lacks:
        return ''
    return (
        f'At {need.steps:.4g} steps this replay needs {" and ".join(lacks)}: '
        'lower replay.size, or limit it by replay.ram_gb'
    )


def space(folder) -> int:
    """Bytes of disk that are free for a folder, or that it takes already."""
    folder = pathlib.Path(folder)
    taken = sum(x.stat().st_size for x in folder.rglob('*.npz') if x.is_file())
    existing = next(x for x in (folder, *folder.absolute().parents) if x.is_dir())
    return shutil.disk_usage(existing).free + taken


def size(amount: float) -> str:
    """Bytes for people."""
    return f'{amount / GB:.3g} GB'
