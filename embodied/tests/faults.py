"""A disk that fails on request: a fault in the n-th operation of `embodied.core.files`."""

import errno
import os
import pathlib
import threading

from embodied.core.system import files

OPERATIONS = ('open_new', 'write', 'fsync', 'rename', 'remove', 'remove_tree', 'make_folder')


class Crash(BaseException):
    """The process is gone. Nothing that it does afterwards reaches the disk."""


class Disk:
    """Counts operations, and crashes or reports an error in the one with number `at` (from 1).

    `mode` says when: before it, torn in its middle, after it, or `full` for the error of a full
    disk there and in all later writes. At a crash, what was not flushed is lost by half.
    """

    def __init__(self, monkeypatch, at=0, mode='before'):
        assert mode in ('before', 'torn', 'after', 'full'), mode
        self.at = at
        self.mode = mode
        self.count = 0
        self.dead = False
        self.log = []
        self.unflushed = {}
        self.lock = threading.RLock()
        for name in OPERATIONS:
            wrapped = self._wrap(name, getattr(files, name))
            monkeypatch.setattr(files, name, wrapped)

    def _wrap(self, name, function):
        def operation(*args):
            with self.lock:
                if self.dead:
                    raise Crash
                self.count += 1
                self.log.append(name)
                hit = self.at and self.count >= self.at
                if hit and self.mode == 'full':
                    if name in ('open_new', 'write', 'fsync', 'make_folder'):
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                elif hit and self.mode == 'before':
                    self._die()
                elif hit and self.mode == 'torn':
                    self._half(name, function, args)
                    self._die()
                result = self._track(name, function, args)
                if hit and self.mode == 'after':
                    self._die()
                return result

        return operation

    def _track(self, name, function, args):
        if name == 'fsync':
            # The real one would only cost time.
            self.unflushed.pop(args[0], None)
            return None
        result = function(*args)
        if name == 'open_new':
            self.unflushed[result.fileno()] = result
        return result

    def _half(self, name, function, args):
        if name == 'write':
            function(args[0], args[1][: len(args[1]) // 2])
        elif name == 'remove_tree':
            content = sorted(pathlib.Path(args[0]).iterdir())
            for path in content[: (len(content) + 1) // 2]:
                path.unlink()

    def _die(self):
        self.dead = True
        for file in self.unflushed.values():
            file.close()
            if os.path.exists(file.name):
                os.truncate(file.name, os.path.getsize(file.name) // 2)
        raise Crash
