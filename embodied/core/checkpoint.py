"""Checkpoints: the state of several parts of a run, which becomes current all at once.

    <directory>/<step>-<utc time>/
        <part>.json          structure, numbers and strings
        <part>.safetensors   its arrays, if it has any
        manifest.json        size and SHA-256 of each file, written last

A save is written into a temporary folder, flushed to the disk and renamed, so a folder with a
manifest is complete. That may be done in the background, from what was there when it began. Nothing
is ever unpickled.
"""

import concurrent.futures
import contextlib
import datetime
import functools
import hashlib
import json
import pathlib
import re
import threading
from collections.abc import Callable

import elements
import safetensors

from . import trees
from .system import files

FOLDER = re.compile(r'(\d+)-(\d{8}T\d{6}F\d{6})')
TIME = '%Y%m%dT%H%M%SF%f'
MANIFEST = 'manifest.json'
TEMP = 'tmp-'
FORMAT = 1
# What reading a damaged folder can raise.
DAMAGE = (OSError, ValueError, LookupError, TypeError, AttributeError, safetensors.SafetensorError)


class Checkpoint:
    """Saves and loads parts, which are objects with `save() -> data` and `load(data)`.

        checkpoint = Checkpoint(logdir / 'ckpt', keep=2, agent=agent, replay=replay, step=step)
        checkpoint.load_or_save()
        ...
        checkpoint.begin(int(step))      # takes what is to be saved, and goes on
        ...
        folder = checkpoint.result()     # waits for it

    Data are nested dicts, lists and tuples of NumPy arrays, numbers, strings, bools and None, and
    come back exactly. Parts are saved and loaded in the order given. A part may have, besides,

        cut() -> function    quickly takes what has to be saved; the function returns it as `save`
                             would, in another thread, and its arrays may not change any more
        committed()          is told, in that thread too, when the save is complete and durable
        abandoned()          the same when it has failed

    The newest `keep` checkpoints stay, and for ever the first one after every `keep_every` steps
    (0 = none). Only those are deleted that this run has written or loaded, or that the run which
    wrote the loaded one knew in the same way. What parts keep elsewhere, as replay its files, may
    be whole for the newest one only.
    """

    def __init__(self, directory, keep: int = 2, keep_every: int = 0, **parts):
        if keep < 1:
            raise ValueError(f'keep is {keep}, at least 1 checkpoint must be kept')
        self.directory = pathlib.Path(str(directory)).expanduser()
        self.keep = keep
        self.keep_every = keep_every
        self.parts = parts
        self.known = set()
        self.future = None

    def exists(self) -> bool:
        """Whether there is a checkpoint that was completed, damaged since or not."""
        return any((x / MANIFEST).is_file() for x in self._folders())

    def save(self, step: int = 0) -> pathlib.Path:
        """Save all parts and return the folder.

        Raises OSError naming the file if the disk refuses, and ValueError naming the path of data
        that cannot be saved. The checkpoints before are untouched then.
        """
        return self.cut(step)()

    def begin(self, step: int = 0) -> None:
        """Save all parts as they are now, in the background. `result` tells what came of it."""
        assert self.future is None, 'A save is in progress.'
        self.future = in_background(self.cut(step))

    @property
    def busy(self) -> bool:
        """Whether a save in the background is not over yet."""
        return self.future is not None and not self.future.done()

    def result(self) -> pathlib.Path | None:
        """Folder of the save in the background, once it is over. Raises what `save` would raise.

        None if none has begun since the last call.
        """
        future, self.future = self.future, None
        return future and future.result()

    def cut(self, step: int = 0) -> Callable[[], pathlib.Path]:
        """The first half of `save`, which takes all parts as they are now; returns the second."""
        makers = {name: _cut(name, part) for name, part in self.parts.items()}
        return functools.partial(self._save, makers, step)

    def _save(self, makers, step):
        name = f'{step:012d}-{self._time()}'
        temp, folder = self.directory / (TEMP + name), self.directory / name
        try:
            self._make(temp)
            self._write(temp, makers, step)
            files.sync_folder(temp)
            files.move(temp, folder)
        except BaseException:
            _remove(temp)
            self._tell('abandoned')
            raise
        self.known.add(name)
        # Without this it may be gone after a power failure, so what the one before needs stays.
        files.sync_folder(self.directory)
        self._tell('committed')
        self._clean()
        return folder

    def _tell(self, outcome):
        for part in self.parts.values():
            if hasattr(part, outcome):
                getattr(part, outcome)()

    def load(self, keys=None) -> bool:
        """Load the parts named in `keys` from the newest intact checkpoint.

        By default all that it has; parts that it lacks stay as they are, and a printed line names
        them. Damaged checkpoints are skipped, with one line too. False if there is none to load.
        """
        wanted = keys is not None
        keys = list(self.parts if keys is None else keys)
        if unknown := sorted(set(keys) - set(self.parts)):
            raise ValueError(f'Checkpoint has no parts {unknown}, it has {sorted(self.parts)}')
        for folder in self._folders():
            try:
                manifest = _verify(folder)
                saved = [x for x in keys if x in manifest['parts']]
                data = {x: _read(folder, x, manifest) for x in saved}
                line = set(manifest['line'])
            except DAMAGE as e:
                _tell_skipped(folder, e)
                continue
            if missing := sorted(set(keys) - set(saved)):
                if wanted:
                    raise ValueError(f'{folder} has no parts {missing}, only {manifest["parts"]}')
                elements.print(f'{folder} has no {", ".join(missing)}: new ones are used')
            for key in saved:
                self.parts[key].load(data.pop(key))
            self.known |= {folder.name} | line
            elements.print(f'Loaded checkpoint: {folder}')
            return True
        return False

    def load_or_save(self, step: int = 0) -> bool:
        """Load if there is something to load, else save. True if loaded."""
        if self.load():
            return True
        self.save(step)
        return False

    def _folders(self):
        return _named(self.directory)

    def _time(self):
        """The time now, made later than that of every checkpoint in case the clock went back."""
        now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
        if folders := self._folders():
            newest = datetime.datetime.strptime(FOLDER.fullmatch(folders[0].name).group(2), TIME)
            now = max(now, newest + datetime.timedelta(microseconds=1))
        return now.strftime(TIME)

    def _make(self, folder):
        with files.naming(folder):
            new = not self.directory.exists()
            files.make_folder(folder)
        if new:
            files.sync_folder(self.directory.parent)

    def _write(self, folder, makers, step):
        listing = {}
        for name, make in makers.items():
            data, arrays = make()
            _put(folder / f'{name}.json', [json.dumps(data).encode()], listing)
            if arrays:
                _put(folder / f'{name}.safetensors', trees.tensor_file(arrays), listing)
        manifest = {
            'format': FORMAT,
            'step': step,
            'parts': list(makers),
            'line': sorted(self.known),
            'files': listing,
        }
        files.put(folder / MANIFEST, [json.dumps(manifest, indent=2).encode()])

    def _clean(self):
        mine = [x for x in self._folders() if x.name in self.known]
        lasting = self._lasting(mine)
        for folder in mine[self.keep :]:
            if folder in lasting:
                continue
            # Renamed first, as half of a folder must not look like a damaged checkpoint.
            temp = folder.with_name(TEMP + folder.name)
            with contextlib.suppress(OSError):
                files.rename(folder, temp)
        for folder in self.directory.glob(f'{TEMP}*'):
            _remove(folder)
        self.known &= {x.name for x in self._folders()}

    def _lasting(self, folders):
        """The first of the folders, newest first, after every `keep_every` steps."""
        found, last = set(), 0
        for folder in reversed(folders) if self.keep_every else ():
            step = int(FOLDER.fullmatch(folder.name).group(1))
            if step // self.keep_every > last // self.keep_every:
                found.add(folder)
                last = step
        return found


def in_background(function: Callable) -> concurrent.futures.Future:
    """Call a function in a thread that the end of the program does not wait for."""
    future = concurrent.futures.Future()

    def run():
        try:
            future.set_result(function())
        except BaseException as e:
            future.set_exception(e)

    threading.Thread(target=run, name='save', daemon=True).start()
    return future


def find(path) -> list[pathlib.Path]:
    """Checkpoints that a path stands for, newest first: a logdir, its `ckpt`, or a checkpoint.

    ValueError if there is none.
    """
    path = pathlib.Path(path).expanduser()
    if (path / MANIFEST).is_file():
        return [path]
    for directory in (path / 'ckpt', path):
        found = [x for x in _named(directory) if (x / MANIFEST).is_file()]
        if found:
            return found
    raise ValueError(f'{path} {"holds no checkpoint" if path.exists() else "does not exist"}')


def check(path, part: str) -> None:
    """ValueError unless a checkpoint of the path seems to have the part, by its sizes."""
    problems = []
    for folder in find(path):
        try:
            _verify(folder, part, content=False)
            return
        except DAMAGE as e:
            problems.append(f'{folder.name}: {_cause(e)}')
    raise ValueError(f'{path} has no checkpoint that is intact, {"; ".join(problems)}')


def read(path, part: str):
    """Folder, step and data of one part of the newest intact checkpoint that a path stands for.

    Damaged ones are skipped with one line each. ValueError if there is no other.
    """
    for folder in find(path):
        try:
            manifest = _verify(folder, part)
            return folder, int(manifest['step']), _read(folder, part, manifest)
        except DAMAGE as e:
            _tell_skipped(folder, e)
    raise ValueError(f'{path} has no checkpoint that is intact')


def _named(directory):
    """Folders named like checkpoints, newest first."""
    paths = directory.iterdir() if directory.is_dir() else []
    named = [(FOLDER.fullmatch(x.name), x) for x in paths]
    named = [(m.group(2), int(m.group(1)), x) for m, x in named if m]
    return [x for _, _, x in sorted(named, reverse=True)]


def _cause(error):
    return getattr(error, 'strerror', None) or str(error)


def _tell_skipped(folder, error):
    elements.print(f'Skipped checkpoint {folder}: {_cause(error)}', color='yellow')


def _cut(name, part):
    """A function that returns data and arrays of a part as it is now."""
    if hasattr(part, 'cut'):
        make = part.cut()
        return lambda: trees.split(make(), name)
    # Copies, as the part may write into its own.
    data, arrays = trees.split(part.save(), name)
    arrays = {k: v.copy() for k, v in arrays.items()}
    return lambda: (data, arrays)


def _put(path, pieces, listing):
    digest = hashlib.sha256()
    size = files.put(path, pieces, digest)
    listing[path.name] = {'size': size, 'sha256': digest.hexdigest()}


def _verify(folder, part=None, content=True):
    """The manifest of a folder whose files are all as they were written, else ValueError.

    With `part`, only the files of that part. Without `content`, only their sizes.
    """
    manifest = json.loads(files.read(folder / MANIFEST))
    if manifest['format'] != FORMAT:
        raise ValueError(f'{MANIFEST} has format {manifest["format"]}, not {FORMAT}')
    if part is not None and part not in manifest['parts']:
        raise ValueError(f'it has no {part}, only {", ".join(manifest["parts"])}')
    for name, want in manifest['files'].items():
        if part is not None and pathlib.Path(name).stem != part:
            continue
        path = folder / name
        size = path.stat().st_size if path.is_file() else None
        if size is None:
            raise ValueError(f'{name} is missing')
        if size != want['size']:
            raise ValueError(f'{name} has {size} bytes, not {want["size"]}')
        if content and files.sha256(path) != want['sha256']:
            raise ValueError(f'{name} has changed since it was written')
    return manifest


def _read(folder, part, manifest):
    data = json.loads(files.read(folder / f'{part}.json'))
    name = f'{part}.safetensors'
    arrays = trees.read_tensors(folder / name) if name in manifest['files'] else {}
    return trees.join(data, arrays)


def _remove(folder):
    # What cannot be removed now is removed after the next save.
    with contextlib.suppress(OSError):
        files.remove_tree(folder)
