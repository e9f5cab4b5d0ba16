"""Parts of packages whose face asks for more than the part does, such as the old `gym`."""

import importlib
import importlib.util
import sys
import types


def part(name: str):
    """The module `package.module`, imported without the `__init__` of its package."""
    package = name.partition('.')[0]
    if name in sys.modules or package in sys.modules:
        return importlib.import_module(name)
    face = types.ModuleType(package)
    face.__path__ = importlib.util.find_spec(package).submodule_search_locations
    sys.modules[package] = face
    try:
        return importlib.import_module(name)
    finally:
        del sys.modules[package]  # Who wants the whole package can still import it.
