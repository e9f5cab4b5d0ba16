"""Whether this machine is ready, and what to fix.

Looks at Python and packages, devices, memory, rendering, suites of environments, disk and the cache
of compiled programs. Exit code 1 if something has to be fixed, else 0.
"""

import importlib.metadata
import importlib.util
import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile
import tomllib
from typing import NamedTuple

import numpy as np
from packaging import requirements, specifiers

from .. import __version__, logdir
from ..core.logs import outputs, scopes
from ..core.system import hardware
from ..envs import registry

MARKS = {'ok': 'ok  ', 'note': 'note', 'fix': 'FIX '}
TIMEOUT = 180  # Seconds for JAX or a renderer to answer.
GIGA = 1e9
LITTLE_MEMORY, LITTLE_DISK, NO_DISK = 4 * GIGA, 20 * GIGA, 1 * GIGA


class Finding(NamedTuple):
    """One line: `ok`, `note` or `fix`, what it is about, and what to do."""

    level: str
    topic: str
    text: str
    remedy: str = ''


def arguments(parser):
    parser.add_argument('--logdir', default='~/logdir', help='where runs go (default %(default)s)')


def run(args) -> int:
    checks = (python, packages, devices, memory, rendering, videos, suites, trackers)
    worst = 0
    for check in (*checks, lambda: disk(args.logdir)):
        for x in check():
            print(f'{MARKS[x.level]}  {x.topic:<10}{x.text}', flush=True)
            if x.remedy:
                print(f'{"":16}-> {x.remedy}')
            worst |= x.level == 'fix'
    print('\nSomething has to be fixed, see above.' if worst else '\nReady.')
    return int(worst)


def python():
    text = f'{platform.python_version()} at {sys.executable}, {platform.platform()}'
    yield Finding('ok', 'embodied', __version__)
    allowed = project()['requires-python']
    if platform.python_version() in specifiers.SpecifierSet(allowed, prereleases=True):
        yield Finding('ok', 'python', text)
    else:
        yield Finding('fix', 'python', text, f'use Python {allowed}')


def packages():
    """Packages that are needed, and those of extras that are installed, in the right version."""
    info = project()
    extras = [x for y in info.get('optional-dependencies', {}).values() for x in y]
    good = {}
    for line in dict.fromkeys([*info['dependencies'], *extras]):
        wanted = requirements.Requirement(line)
        found = version(wanted.name)
        if found is None and line not in info['dependencies']:
            continue
        if found is not None and found in wanted.specifier:
            good[wanted.name] = found
            continue
        text = (
            f'{wanted.name} {found or "is not installed"}, allowed is {wanted.specifier or "any"}'
        )
        yield Finding('fix', 'package', text, f"pip install '{line}'")
    texts = [f'{k} {v}' for k, v in good.items()]
    for i in range(0, len(texts), 5):
        yield Finding('ok', 'packages', ', '.join(texts[i : i + 5]))


def devices():
    """What JAX finds, asked in another process so that a driver that hangs does not hang us."""
    code = """
import json, time
import jax
from embodied.jax import device
devices = jax.devices()
began = time.monotonic()
jax.block_until_ready(jax.jit(lambda x: x @ x)(jax.numpy.ones((256, 256))))
stats = devices[0].memory_stats() or {}
print(json.dumps({
    'platform': devices[0].platform,
    'kinds': [x.device_kind for x in devices],
    'limit': stats.get('bytes_limit'),
    'seconds': time.monotonic() - began,
    'cache': str(device.cache_folder()),
}))
"""
    found, error = ask(code)
    if error:
        remedy = 'nothing can be trained like this, see the message'
        if hardware.has_gpu():
            remedy = 'is the driver new enough? --jax.platform cpu does without the GPU'
        yield Finding('fix', 'jax', error, remedy)
        return
    kinds = ', '.join(f'{found["kinds"].count(x)} {x}' for x in dict.fromkeys(found['kinds']))
    limit = f', {found["limit"] / GIGA:.1f} GB for JAX' if found['limit'] else ''
    text = f'{kinds} ({found["platform"]}){limit}, compiles and runs in {found["seconds"]:.1f} s'
    yield Finding('ok', 'jax', text)
    if found['platform'] == 'cpu' and hardware.has_gpu():
        remedy = "pip install 'dreamerv3-embodied[cuda]'"
        if hardware.has_plugin('cuda'):
            remedy = 'is $JAX_PLATFORMS set, or the driver too old for this CUDA?'
        yield Finding('fix', 'jax', 'there is an NVIDIA GPU, but JAX does not use it', remedy)
    elif found['platform'] == 'cpu':
        yield Finding('note', 'jax', 'no accelerator: small sizes only, as --configs quickstart')
    yield from gpus()
    yield from cache(pathlib.Path(found['cache']))


def gpus():
    """Cards as their driver tells them, with the memory that others use."""
    tool = shutil.which('nvidia-smi')
    query = 'name,driver_version,memory.total,memory.used'
    if not tool or not hardware.has_gpu():
        return
    command = [tool, f'--query-gpu={query}', '--format=csv,noheader,nounits']
    try:
        text = subprocess.run(command, capture_output=True, text=True, timeout=30).stdout
        for line in text.strip().splitlines():
            name, driver, total, used = (x.strip() for x in line.split(','))
            text = f'{name}, driver {driver}, {used} of {total} MiB in use'
            busy = float(used) > 0.3 * float(total)
            remedy = 'another process is on it; --jax.prealloc False shares it' if busy else ''
            yield Finding('note' if busy else 'ok', 'gpu', text, remedy)
    except (OSError, ValueError, subprocess.TimeoutExpired) as e:
        yield Finding('fix', 'gpu', f'nvidia-smi does not answer: {e}', 'restart the driver')


def memory():
    """What this process may use, the limit of a container included."""
    facts = dict(x.split(':') for x in read('/proc/meminfo').splitlines())
    if not facts:
        yield Finding('note', 'memory', 'the system does not tell how much there is')
        return
    free, total = (1024 * int(facts[k].split()[0]) for k in ('MemAvailable', 'MemTotal'))
    limit = read('/sys/fs/cgroup/memory.max').strip()
    if limit.isdigit() and int(limit) < total:
        used = read('/sys/fs/cgroup/memory.current').strip()
        total, free = int(limit), min(free, int(limit) - int(used or 0))
    text = f'{free / GIGA:.1f} of {total / GIGA:.1f} GB free, {len(os.sched_getaffinity(0))} cores'
    if free < LITTLE_MEMORY:
        yield Finding('note', 'memory', text, '--replay.size bounds what replay takes')
    else:
        yield Finding('ok', 'memory', text)


def rendering():
    """How MuJoCo would draw, and that it does where it is installed."""
    code = """
import json, os
from embodied.envs import gl
backend, drawn = gl.setup(), None
try:
    import mujoco
except ImportError:
    mujoco = None
if mujoco and backend != 'disable':
    model = mujoco.MjModel.from_xml_string(
        '<mujoco><worldbody><light pos="0 0 3"/><geom size="1"/></worldbody></mujoco>')
    with mujoco.Renderer(model, 32, 32) as renderer:
        data = mujoco.MjData(model)
        mujoco.mj_forward(model, data)
        renderer.update_scene(data)
        drawn = int(renderer.render().max())
print(json.dumps({'backend': backend, 'mujoco': bool(mujoco), 'drawn': drawn}))
"""
    found, error = ask(code)
    remedy = 'apt install libegl1 libgl1 (EGL) or libosmesa6 (OSMesa); $MUJOCO_GL names one'
    if error:
        yield Finding('fix', 'rendering', f'does not work: {error}', remedy)
    elif found['backend'] == 'disable':
        level = 'fix' if found['mujoco'] else 'note'
        yield Finding(level, 'rendering', 'neither EGL nor OSMesa, so no images of MuJoCo', remedy)
    elif found['mujoco'] and not found['drawn']:
        yield Finding('fix', 'rendering', f'{found["backend"]} draws black images', remedy)
    else:
        tried = 'and MuJoCo draws with it' if found['mujoco'] else 'for MuJoCo, if it is installed'
        yield Finding('ok', 'rendering', f'{found["backend"]} works, {tried}')


def videos():
    frames = np.zeros((2, 16, 16, 3), np.uint8)
    try:
        with tempfile.TemporaryDirectory() as folder:
            scopes.write_video(pathlib.Path(folder) / 'video.mp4', frames)
        yield Finding('ok', 'videos', 'can be written as mp4')
    except Exception as e:
        yield Finding(
            'fix', 'videos', f'cannot be written: {e}', 'pip install --force-reinstall av'
        )


def suites():
    missing = {}
    for name, suite in registry.suites.items():
        if suite.package and importlib.util.find_spec(suite.package.partition('.')[0]) is None:
            missing.setdefault(suite.install, []).append(name)
        else:
            yield Finding('ok', 'suite', f'{name:<12}{suite.text}')
    for install, names in missing.items():
        yield Finding('note', 'suite', f'{", ".join(names)} not installed', install)


def trackers():
    for name, package in outputs.PACKAGES.items():
        if importlib.util.find_spec(package) is None:
            remedy = f"pip install 'dreamerv3-embodied[{name}]'"
            yield Finding('note', 'output', f'{name} not installed', remedy)
        else:
            yield Finding('ok', 'output', f'{name}, as --logger.outputs jsonl scope {name}')


def disk(folder):
    try:
        path = logdir.resolve(folder)
        existing = next(x for x in (path, *path.parents) if x.exists())
        with tempfile.TemporaryFile(dir=existing):
            free = shutil.disk_usage(existing).free
    except (OSError, ValueError) as e:
        yield Finding('fix', 'disk', f'{folder}: {e}', 'give another --logdir')
        return
    text = f'{free / GIGA:.1f} GB free for {path}'
    if free < NO_DISK:
        yield Finding('fix', 'disk', text, 'remove old runs; replay/ is the large folder of each')
    elif free < LITTLE_DISK:
        yield Finding('note', 'disk', text, 'replay of images may need more, see --replay.size')
    else:
        yield Finding('ok', 'disk', text)


def cache(folder):
    """The folder of compiled programs."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            size = sum(x.stat().st_size for x in folder.iterdir() if x.is_file())
    except OSError as e:
        remedy = '--jax.cache names another folder, or `off` for none'
        yield Finding('fix', 'cache', f'{folder} cannot be written: {e.strerror}', remedy)
        return
    yield Finding('ok', 'cache', f'{size / 1e6:,.0f} MB of compiled programs in {folder}')


def project() -> dict:
    """What the project asks for, from its metadata, or pyproject.toml where it is not installed."""
    path = pathlib.Path(__file__).parents[2] / 'pyproject.toml'
    if path.exists():
        return tomllib.loads(path.read_text())['project']
    (name, *_) = importlib.metadata.packages_distributions()['embodied']
    info = importlib.metadata.metadata(name)
    lines = [requirements.Requirement(x) for x in info.get_all('Requires-Dist', [])]
    result = {'requires-python': info['Requires-Python'], 'dependencies': []}
    extra = result['optional-dependencies'] = {'': []}
    for line in lines:
        plain = f'{line.name}{line.specifier}'
        (extra[''] if line.marker else result['dependencies']).append(plain)
    return result


def version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def ask(code):
    """What a program prints as JSON, and its last words where it fails."""
    env = {**os.environ, 'PYTHONPATH': os.pathsep.join(x for x in sys.path if x)}
    command = [sys.executable, '-c', code]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, env=env)
        if done.returncode:
            lines = done.stderr.strip().splitlines()
            return None, lines[-1] if lines else f'exit code {done.returncode}'
        return json.loads(done.stdout.strip().splitlines()[-1]), None
    except subprocess.TimeoutExpired:
        return None, f'no answer within {TIMEOUT} seconds'
    except (OSError, ValueError, IndexError) as e:
        return None, str(e)


def read(path):
    try:
        return pathlib.Path(path).read_text()
    except OSError:
        return ''
