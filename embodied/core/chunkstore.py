"""The chunks of one replay on disk.

    <directory>/<chunk>.npz           named by the newest save
    <directory>/unsaved/<chunk>.npz   full chunks written in the background since then
    <directory>/updates/<id>-<n>.npz  values of keys that have changed since a chunk was written

A chunk file is written once and never changed, an update file neither: what a save has named stays
as it was until the next save is complete, which the caller reports by `committed()`. So a crash at
any moment leaves the state of the newest complete save.
"""

import concurrent.futures
import contextlib
import dataclasses
import pathlib
import re

import elements

from . import chunk as chunklib
from . import files

UPDATE = re.compile(r'([0-9A-Za-z]{1,22})-(\d{1,9})\.npz')
MAX_PENDING = 16


@dataclasses.dataclass
class Entry:
    """What the disk holds of a chunk: its file, and its newest update file if there is one."""

    path: pathlib.Path | None = None
    update: pathlib.Path | None = None
    version: int = 0
    pending: concurrent.futures.Future | None = None


class ChunkStore:
    def __init__(self, directory, wait: bool = False):
        self.directory = pathlib.Path(str(directory)).expanduser()
        self.unsaved = self.directory / 'unsaved'
        self.updates = self.directory / 'updates'
        self.wait = wait
        self.entries = {}
        # Files that no chunk needs any more but the last complete save may still name.
        self.retired = []
        self.released = []
        self.pool = concurrent.futures.ThreadPoolExecutor(2, 'chunks')

    def write(self, chunk) -> None:
        """Write a full chunk in the background. A failure is printed, and `save` tries again."""
        entry = self.entries.setdefault(chunk.id, Entry())
        entry.pending = self.pool.submit(self._write, chunk, entry)
        entry.pending.add_done_callback(_report)
        waiting = [x.pending for x in self.entries.values() if x.pending and not x.path]
        if self.wait:
            concurrent.futures.wait([entry.pending])
        elif len(waiting) > MAX_PENDING:
            # The disk is slower than the environments: do not fill the memory.
            concurrent.futures.wait(waiting, return_when='FIRST_COMPLETED')

    def save(self, chunks) -> list[list[str]]:
        """Bring the chunks to the disk as they are now, durably.

        Returns the names [chunk file, update file or ''] of each. If this raises (OSError naming
        the file), the files of the save before are untouched and `save` may be called again.
        """
        self._make_folders()
        entries = [self.entries.setdefault(x.id, Entry()) for x in chunks]
        self._finish(chunks, entries)
        with contextlib.ExitStack() as stack:
            dirty = [(c, e) for c, e in zip(chunks, entries, strict=True) if e.version < c.version]
            jobs = [self.pool.submit(self._write_update, c, e) for c, e in dirty]
            stack.callback(concurrent.futures.wait, jobs)
            for job in jobs:
                job.result()
        for entry in entries:
            if entry.path.parent == self.unsaved:
                target = self.directory / entry.path.name
                files.move(entry.path, target)
                entry.path = target
        for folder in (self.unsaved, self.updates, self.directory):
            files.sync_folder(folder)
        self.released, self.retired = self.released + self.retired, []
        return [[e.path.name, e.update.name if e.update else ''] for e in entries]

    def committed(self) -> None:
        """The save is complete: delete what only the saves before it needed."""
        for path in self.released:
            _delete(path)
        self.released = []

    def forget(self, chunk, discard: bool = True) -> None:
        """No longer save a chunk. With `discard` its files go once no save needs them."""
        entry = self.entries.pop(chunk.id, None)
        if entry is None or not discard:
            return
        if entry.pending:
            entry.pending.add_done_callback(lambda _: self._retire(entry))
        else:
            self._retire(entry)

    def load(self, names) -> list:
        """The chunks of a save in its order, None for one that cannot be read."""
        chunks, updates = [], scan_updates(self.directory)
        for name, update in names:
            path = self.directory / name
            chunk = read_chunk(path)
            if chunk:
                named = [self.updates / update] if update else []
                self.adopt(chunk, path, named + updates.get(str(chunk.id), []) if named else [])
            chunks.append(chunk)
        return chunks

    def adopt(self, chunk, path, updates) -> None:
        """Bring a chunk that was read up to date by the first update file that can be read.

        If its path is in this directory, the chunk is known as on disk from here on.
        """
        entry = Entry(path)
        for update in dict.fromkeys(updates):
            if apply_update(chunk, update):
                entry.update, entry.version = update, chunk.version
                break
        if path.parent in (self.directory, self.unsaved):
            self.entries[chunk.id] = entry

    def clear(self) -> None:
        """After the load of a save: delete what runs have written since it, in vain.

        That is the files in `unsaved`, updates of chunks that are loaded or gone, and temporary
        files. Chunk files in the directory itself stay, also those that could not be read.
        """
        for path in scan(self.unsaved):
            _delete(path)
        known = {x.update for x in self.entries.values()}
        unread = {x.name.split('-')[1] for x in scan(self.directory)}
        unread -= {str(x) for x in self.entries}
        for id, paths in scan_updates(self.directory).items():
            for path in paths:
                if path not in known and id not in unread:
                    _delete(path)
        for folder in (self.directory, self.unsaved, self.updates):
            for path in folder.glob(f'*.npz{files.SUFFIX}'):
                _delete(path)

    def _make_folders(self):
        for folder in (self.directory, self.unsaved, self.updates):
            with files.naming(folder):
                files.make_folder(folder)

    def _write(self, chunk, entry):
        self._make_folders()
        path = self.unsaved / chunk.filename
        version, pieces = chunk.pack()
        files.replace(path, pieces)
        entry.path, entry.version = path, version

    def _write_update(self, chunk, entry):
        count = int(UPDATE.fullmatch(entry.update.name).group(2)) if entry.update else 0
        path = self.updates / f'{chunk.id}-{count + 1}.npz'
        version, pieces = chunk.pack(sorted(chunk.changed))
        files.replace(path, pieces)
        if entry.update:
            self.retired.append(entry.update)
        entry.update, entry.version = path, version

    def _finish(self, chunks, entries):
        """Wait for what is being written, and write what is missing or had failed."""
        concurrent.futures.wait([x.pending for x in entries if x.pending])
        missing = [(c, e) for c, e in zip(chunks, entries, strict=True) if not e.path]
        jobs = [self.pool.submit(self._write, c, e) for c, e in missing]
        concurrent.futures.wait(jobs)
        for entry in entries:
            entry.pending = None
        for job in jobs:
            job.result()

    def _retire(self, entry):
        if entry.path and entry.path.parent == self.unsaved:
            _delete(entry.path)
        elif entry.path:
            self.retired.append(entry.path)
        if entry.update:
            self.retired.append(entry.update)


def scan(directory, log: bool = False) -> list[pathlib.Path]:
    """Chunk files in a directory, newest first. With `log` names the files that are none."""
    directory, found = pathlib.Path(directory), []
    for path in directory.iterdir() if directory.is_dir() else []:
        try:
            if path.name not in ('unsaved', 'updates') and path.suffix != files.SUFFIX:
                chunklib.parse(path.name)
                found.append(path)
        except ValueError as e:
            if log:
                warn(path, e)
    return sorted(found, key=lambda x: x.name, reverse=True)


def scan_updates(directory) -> dict[str, list[pathlib.Path]]:
    """Update files in a directory of chunks by the id of the chunk, newest first."""
    found = {}
    folder = pathlib.Path(directory) / 'updates'
    for path in folder.iterdir() if folder.is_dir() else []:
        if match := UPDATE.fullmatch(path.name):
            found.setdefault(match.group(1), []).append((int(match.group(2)), path))
    return {k: [path for _, path in sorted(v, reverse=True)] for k, v in found.items()}


def read_chunk(path):
    """The chunk of a file, or None after one line that says what is wrong with it."""
    try:
        return chunklib.Chunk.load(path)
    except ValueError as e:
        elements.print(f'Skipped replay chunk {e}', color='yellow')
        return None


def apply_update(chunk, path) -> bool:
    """Put the values of an update file into a chunk; prints one line if they cannot be used."""
    try:
        columns = chunklib.read(path)
        for key, column in columns.items():
            if key not in chunk.spec:
                raise ValueError(f'key {key} is not in the chunk')
            if column.shape != (chunk.length, *chunk.spec[key][1]):
                raise ValueError(f'key {key} has the wrong shape {column.shape}')
    except (OSError, ValueError) as e:
        warn(path, e)
        return False
    chunk.update(0, chunk.length, columns)
    return True


def warn(path, error) -> None:
    elements.print(f'Skipped replay file {path}: {chunklib.describe(error)}', color='yellow')


def _delete(path):
    # A file that is gone already, or that cannot be deleted, is no reason to stop a run.
    with contextlib.suppress(OSError):
        files.remove(path)


def _report(future):
    if error := future.exception():
        text = f'{error}. The next save tries again.'
        elements.print(f'Failed to write replay chunk: {text}', color='red')
