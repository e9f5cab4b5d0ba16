"""The chunks of one replay on disk.

    <directory>/<chunk>.npz           named by the newest save
    <directory>/unsaved/<chunk>.npz   chunks written since then, on their way there
    <directory>/values/<id>-<n>.npz   the columns of one chunk that updates change

The rest of a chunk is written once, its values with every save that finds them changed. No file is
changed, and those that a save names stay until the next one is complete, which the caller reports
by `committed()`: so a crash at any moment leaves the newest complete save whole. Older ones share
these files. What has left the replay since is gone for them, and values may be newer ones.
"""

import concurrent.futures
import contextlib
import dataclasses
import pathlib

import elements

from ..system import files, npz
from . import chunk as chunklib
from . import chunkfiles


@dataclasses.dataclass(eq=False)
class Entry:
    """What the disk holds of a chunk."""

    path: pathlib.Path | None = None
    content: chunklib.Frozen | None = None  # of the file, until that is written
    values: pathlib.Path | None = None
    version: int = -1  # of the values in these two
    number: int = 0  # of the newest file of values
    pending: concurrent.futures.Future | None = None
    changed: chunklib.Frozen | None = None  # values that the save in progress writes
    held: bool = False  # by the save in progress
    named: bool = False  # by a complete save, as its values are if `values_named`
    values_named: bool = False
    gone: bool = False


class ChunkStore:
    """Writes chunks, in the background or for a save, and deletes what nobody needs.

    One save at a time goes through `cut`, `save` and then `committed` or `abandoned`. `cut`,
    `write` and `forget` take no time, the others may be called in another thread.
    """

    def __init__(self, directory, wait: bool = False):
        self.directory = pathlib.Path(str(directory)).expanduser()
        self.unsaved = self.directory / 'unsaved'
        self.values = self.directory / 'values'
        self.wait = wait
        self.entries = {}
        self.held = []  # Chunks and entries of the save in progress.
        # What only saves up to the last complete one need: entries of chunks that are gone, since
        # the last cut and before it, and values that were written anew.
        self.retired = []
        self.released = []
        self.outdated = []
        self.pool = concurrent.futures.ThreadPoolExecutor(2, 'chunks')

    def write(self, chunk, apart) -> None:
        """Write a full chunk in the background, without the columns `apart` that updates change.

        A failure is printed, and `save` tries again.
        """
        entry = self._entry(chunk, apart)
        entry.pending = self.pool.submit(self._write, chunk, entry)
        entry.pending.add_done_callback(_report)
        if self.wait:
            concurrent.futures.wait([entry.pending])

    def cut(self, chunks, apart) -> None:
        """Begin a save of the chunks, which are closed, as they are now."""
        for _, entry in self.held:  # Of a save whose fate we were not told.
            entry.named = entry.values_named = True
        self._let_go()
        self.released, self.retired = self.released + self.retired, []
        for chunk in chunks:
            entry = self._entry(chunk, apart)
            entry.held = True
            if entry.version < chunk.version:
                entry.changed = chunk.freeze(sorted(set(apart) & set(chunk.columns)))
            self.held.append((chunk, entry))

    def save(self) -> list[list[str]]:
        """Bring what was cut to the disk, durably.

        Returns the names [chunk file, file of values or ''] of each chunk. If this raises, OSError
        naming the file, the files of the save before are untouched.
        """
        try:
            self._make_folders()
            for chunk, _ in self.held:
                chunk.trim()
            for chunk, entry in self.held:
                if entry.pending:
                    concurrent.futures.wait([entry.pending])
                    entry.pending = None
                if not entry.path:
                    self._write(chunk, entry)
                if entry.changed:
                    self._write_values(chunk, entry)
            for folder in (self.unsaved, self.values, self.directory):
                files.sync_folder(folder)
        except BaseException:
            self.abandoned()
            raise
        return [[e.path.name, e.values.name if e.values else ''] for _, e in self.held]

    def committed(self) -> None:
        """The save is complete: delete what only the saves before it needed."""
        self.settle()
        for entry in self.released:
            _delete(entry.path, entry.values)
        _delete(*self.outdated)
        self.released, self.outdated = [], []
        self._let_go()

    def abandoned(self) -> None:
        """The save has failed, before anything could name its files."""
        self._let_go()

    def settle(self) -> None:
        """Take the save for complete, so that its files stay, and move them to their place."""
        for _, entry in self.held:
            entry.named = entry.values_named = True
            self._move(entry)

    def forget(self, chunk, discard: bool = True) -> None:
        """No longer save a chunk. With `discard` its files go once no save needs them."""
        entry = self.entries.pop(chunk.id, None)
        if entry is None or not discard:
            return
        entry.gone = True
        if entry.named or entry.held:
            self.retired.append(entry)
        elif entry.pending:
            entry.pending.add_done_callback(lambda _: _delete(entry.path))
        else:
            _delete(entry.path, entry.values)

    def load(self, names, spec, apart) -> list:
        """The chunks of a save in its order, None for one that cannot be read.

        `spec` and `apart` are those of the replay. All whose files are gone, as for a save that is
        not the newest, are told in one line.
        """
        chunks, missing, values = [], [], chunkfiles.scan_values(self.directory)
        for name, named in names:
            path = next((x for x in self._places(name) if x.exists()), None)
            chunk = chunkfiles.read_chunk(path) if path else missing.append(name)
            if chunk:
                # Those of a save that is not the newest may have been written anew since.
                known = values.get(str(chunk.id), []) if named else []
                known = [x for x in known if x.name == named] + known
                self.adopt(chunk, path, known, spec, apart)
            chunks.append(chunk)
        if missing:
            more = f' and {len(missing) - 1} more chunks' if missing[1:] else ''
            chunkfiles.warn(
                self.directory / missing[0], ValueError(f'it is not there any more{more}')
            )
        return chunks

    def adopt(self, chunk, path, values, spec, apart) -> None:
        """Give a chunk that was read its columns apart, of the first of some files that fits.

        Without one, those that it lacks begin with zeros. If its path is in this directory, the
        chunk is known as on disk from here on.
        """
        numbers = [int(chunkfiles.VALUES.fullmatch(x.name).group(2)) for x in values]
        entry = Entry(path, version=chunk.version, number=max(numbers, default=0), named=True)
        for name in dict.fromkeys(values):
            try:
                chunk.columns.update(chunkfiles.read_values(name, chunk, spec, apart))
            except (OSError, ValueError) as e:
                chunkfiles.warn(name, e)
                continue
            entry.values, entry.values_named = name, True
            break
        if lacking := {k: spec[k] for k in apart if k in spec and k not in chunk.columns}:
            if not values:
                chunkfiles.warn(
                    path, ValueError(f'kept, but the values of {", ".join(lacking)} are gone')
                )
            chunk.renew(lacking)
        if path in self._places(path.name):
            self.entries[chunk.id] = entry

    def clear(self, names) -> None:
        """After the load of a save: move its files to their place, and delete what dead runs left.

        That is the files in `unsaved` that it does not name, values of chunks that are loaded or
        gone, and temporary files. Chunk files in the directory itself stay.
        """
        for entry in self.entries.values():
            self._move(entry)
        named = {x for x, _ in names}
        _delete(*(x for x in chunkfiles.scan(self.unsaved) if x.name not in named))
        known = {x.values for x in self.entries.values()}
        unread = {
            x.name.split('-')[1]
            for x in chunkfiles.scan(self.directory) + chunkfiles.scan(self.unsaved)
        }
        unread -= {str(x) for x in self.entries}
        for id, paths in chunkfiles.scan_values(self.directory).items():
            if id not in unread:
                _delete(*(x for x in paths if x not in known))
        for folder in (self.directory, self.unsaved, self.values):
            _delete(*folder.glob(f'*.npz{files.SUFFIX}'))

    def _entry(self, chunk, apart):
        entry = self.entries.get(chunk.id)
        if entry is None:
            here = [k for k in chunk.columns if k not in apart]
            version = chunk.version if len(here) == len(chunk.columns) else -1
            entry = Entry(content=chunk.freeze(here), version=version)
            self.entries[chunk.id] = entry
        return entry

    def _places(self, name):
        return self.directory / name, self.unsaved / name

    def _make_folders(self):
        for folder in (self.directory, self.unsaved, self.values):
            with files.naming(folder):
                files.make_folder(folder)

    def _write(self, chunk, entry):
        if entry.gone and not entry.held:
            return
        self._make_folders()
        path = self.unsaved / chunk.filename
        files.replace(path, npz.pack(entry.content.values()))
        entry.path = path
        entry.content.release()
        entry.content = None

    def _write_values(self, chunk, entry):
        entry.number += 1
        path = self.values / f'{chunk.id}-{entry.number}.npz'
        files.replace(path, npz.pack(entry.changed.values()))
        if entry.values_named:
            self.outdated.append(entry.values)
        else:
            _delete(entry.values)
        entry.values, entry.values_named, entry.version = path, False, entry.changed.version

    def _move(self, entry):
        # If it cannot be moved, it is found where it is.
        if entry.path.parent == self.unsaved:
            with contextlib.suppress(OSError):
                files.move(entry.path, self.directory / entry.path.name)
                entry.path = self.directory / entry.path.name

    def _let_go(self):
        """End the save in progress, whatever became of it."""
        held, self.held = self.held, []
        for _, entry in held:
            if entry.changed:
                entry.changed.release()
                entry.changed = None
            entry.held = False
            if entry.gone and not entry.named:
                _delete(entry.path, entry.values)


def _delete(*paths):
    # A file that is gone already, or that cannot be deleted, is no reason to stop a run.
    for path in paths:
        if path:
            with contextlib.suppress(OSError):
                files.remove(path)


def _report(future):
    if error := future.exception():
        text = f'{error}. The next save tries again.'
        elements.print(f'Failed to write replay chunk: {text}', color='red')
