"""Writing files so that a crash leaves the old one or the new one, never half of one.

The first functions are all that touches the disk for writing. They are looked up in this module at
every call, so that a test can put a fault into any single operation. A failure is an OSError that
names the file.
"""

import contextlib
import hashlib
import os
import pathlib
import shutil

SUFFIX = '.tmp'


def open_new(path):
    return open(path, 'wb', buffering=0)


def write(file, data):
    return file.write(data)


def fsync(fd):
    os.fsync(fd)


def rename(source, target):
    os.rename(source, target)


def remove(path):
    os.remove(path)


def remove_tree(path):
    shutil.rmtree(path)


def make_folder(path):
    os.makedirs(path, exist_ok=True)


def put(path, pieces, digest=None) -> int:
    """Write the pieces (bytes or contiguous arrays) into a new file, fsync it, return its size.

    `digest`, an object of hashlib, is fed with what is written. A file that cannot be completed is
    removed.
    """
    size = 0
    with naming(path):
        file = open_new(path)
        try:
            with file:
                for piece in pieces:
                    view = memoryview(piece)
                    if not view.nbytes:
                        continue
                    view = view.cast('B')
                    size += len(view)
                    if digest:
                        digest.update(view)
                    # An unbuffered write may take only a part, as it does when the disk gets full.
                    while len(view):
                        view = view[write(file, view) :]
                fsync(file.fileno())
        except OSError:
            with contextlib.suppress(OSError):
                remove(path)
            raise
    return size


def replace(path, pieces) -> None:
    """Write a file under a temporary name and move it to its place at once.

    The new name is only durable after `sync_folder`.
    """
    path = pathlib.Path(path)
    temp = path.with_name(path.name + SUFFIX)
    put(temp, pieces)
    move(temp, path)


def move(source, target) -> None:
    with naming(target):
        rename(source, target)


def sync_folder(path) -> None:
    """Make the names in a folder durable."""
    with naming(path):
        fd = os.open(path, os.O_RDONLY)
        try:
            fsync(fd)
        finally:
            os.close(fd)


def sha256(path) -> str:
    with open(path, 'rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()


@contextlib.contextmanager
def naming(path):
    """Let an OSError name the file, which those of write and fsync do not."""
    try:
        yield
    except OSError as e:
        raise OSError(e.errno, e.strerror or str(e), str(path)) from e


def read(path) -> bytes:
    with open(path, 'rb') as file:
        return file.read()
