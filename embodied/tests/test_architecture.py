"""The floors of the house: an import only goes down, and JAX stays on its side."""

import ast
import pathlib
import subprocess
import sys

import pytest

import embodied

ROOT = pathlib.Path(embodied.__file__).parent.parent
JAX = {'jax', 'jaxlib', 'ninjax', 'optax', 'flax', 'chex', 'orbax'}

# What each part of embodied may import of embodied. Parts of one floor never import each other.
BELOW = {
    'core': {'core'},
    'config': {'config'},
    'logdir': {'config'},
    'checks': {'core'},
    'envs': {'envs', 'core', 'config'},
    'run': {'run', 'core', 'config'},
    'jax': {'jax', 'core', 'config'},
    'build': {'envs', 'run', 'jax', 'core', 'config'},
    'cli': {'build', 'envs', 'checks', 'logdir', 'core', 'config', '__init__'},
    'commands': {'commands', 'check_env', 'cli', 'envs', 'checks', 'logdir', 'core', 'config'}
    | {'__init__'},
    'check_env': {'check_env', 'envs', 'core', 'config'},
    '__main__': {'commands'},
    '__init__': set(),
}
# Packages that core may use beside the standard library.
CORE = {'numpy', 'elements', 'safetensors', 'cloudpickle', 'scope', 'PIL', 'zmq'}
CORE |= {'tensorboardX', 'wandb', 'mlflow'}  # Only where an output is asked for.


def sources(folder):
    return sorted(x for x in (ROOT / folder).rglob('*.py') if 'tests' not in x.parts)


def imports(path):
    """Dotted names that a file imports, made absolute, and how many dots each began with."""
    package = path.relative_to(ROOT).with_suffix('').parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, 0) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) - node.level + 1]) if node.level else []
            base += node.module.split('.') if node.module else []
            yield from (('.'.join([*base, alias.name]), node.level) for alias in node.names)


def part(name):
    """Part of embodied that a dotted name or file belongs to; None for other packages."""
    first, *rest = name.split('.')
    if first != 'embodied':
        return None
    return rest[0] if rest and rest[0] in BELOW else '__init__'


def part_of_file(path):
    return part('.'.join(path.relative_to(ROOT).with_suffix('').parts))


ids = [str(x.relative_to(ROOT)) for x in sources('embodied')]


@pytest.mark.parametrize('path', sources('embodied'), ids=ids)
def test_imports_go_down(path):
    home = part_of_file(path)
    for name, level in imports(path):
        to = part(name)
        if to is None:
            continue
        assert level, f'{path}: import {name} relatively'
        assert to in BELOW[home], f'{path}: {home} must not import {name}'


@pytest.mark.parametrize('path', sources('embodied'), ids=ids)
def test_packages(path):
    names = {name.split('.')[0] for name, level in imports(path) if not level}
    home = part_of_file(path)
    assert 'dreamerv3' not in names
    if home != 'jax':
        assert not names & JAX, f'{path} imports {names & JAX}'
    if home == 'core':
        other = names - set(sys.stdlib_module_names) - CORE
        assert not other, f'{path} imports {other}'


def test_agent_without_jax():
    for name in ('main.py', 'checks.py', 'entries.py', '__init__.py'):
        path = ROOT / 'dreamerv3' / name
        if path.exists():
            assert not {x.split('.')[0] for x, level in imports(path)} & JAX, path


def test_siblings_of_an_agent_are_imported_relatively():
    for path in sources('dreamerv3'):
        if path.name != 'main.py':
            absolute = [x for x, level in imports(path) if x.startswith('dreamerv3') and not level]
            assert not absolute, path


def test_every_source_opens_with_a_docstring():
    for folder in ('embodied', 'dreamerv3', 'benchmarks', 'scores'):
        for path in sources(folder):
            text = path.read_text()
            # An empty file only marks a package.
            assert not text or ast.get_docstring(ast.parse(text)), f'{path} has no docstring'


@pytest.mark.parametrize(
    'code',
    [
        'import embodied',
        'import embodied; embodied.Env, embodied.Driver, embodied.Replay, embodied.wrappers',
        'from embodied import cli',
        'from embodied.envs import registry',
        'from embodied import commands',
    ],
)
def test_jax_is_not_imported(code):
    check = f'{code}; import sys; assert not {JAX} & set(sys.modules)'
    subprocess.run([sys.executable, '-c', check], cwd=ROOT, check=True, timeout=60)


def test_public_names():
    for name in embodied.__all__:
        if name != 'jax':
            assert getattr(embodied, name) is not None, name
    assert set(embodied.__all__) <= set(dir(embodied))
    assert embodied.replay.Replay is embodied.Replay
    assert embodied.replay.selectors is embodied.selectors
    assert embodied.replay.limiters is embodied.limiters
    assert callable(embodied.run.train)
    with pytest.raises(AttributeError, match='has no attribute'):
        _ = embodied.absent
