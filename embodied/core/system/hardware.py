"""Which accelerators this machine has, told without JAX: by device files and the driver's tool."""

import importlib.util
import os
import pathlib
import pkgutil
import shutil
import subprocess


def check(platform: str) -> None:
    """ValueError of one line if `platform` (auto, cpu, cuda, tpu) cannot run here."""
    remedy = 'use --jax.platform cpu or auto'
    if platform == 'cuda' and not has_gpu():
        raise ValueError(f"jax.platform: got 'cuda', but there is no NVIDIA GPU here, {remedy}")
    if platform == 'cuda' and not has_plugin('cuda'):
        raise ValueError(
            "jax.platform: got 'cuda', but JAX is installed without it, "
            f"pip install 'jax[cuda13]' or {remedy}"
        )
    if platform == 'tpu' and not has_tpu():
        raise ValueError(f"jax.platform: got 'tpu', but there is no TPU here, {remedy}")


def kind(platform: str) -> str:
    """The platform that `auto` stands for: cuda, tpu or cpu."""
    if platform != 'auto':
        return platform
    if has_gpu() and has_plugin('cuda'):
        return 'cuda'
    return 'tpu' if has_tpu() else 'cpu'


def count(platform: str, devices: str = '/dev') -> int | None:
    """Devices of a platform (cuda, tpu, cpu), None where only JAX can tell."""
    if platform == 'cuda':
        visible = os.environ.get('CUDA_VISIBLE_DEVICES')
        found = visible.split(',') if visible else pathlib.Path(devices).glob('nvidia[0-9]*')
        return len(list(found)) or None
    split = 'xla_force_host_platform_device_count' in os.environ.get('XLA_FLAGS', '')
    if platform == 'tpu' or split or 'JAX_NUM_CPU_DEVICES' in os.environ:
        return None
    return 1


def has_gpu(devices: str = '/dev') -> bool:
    """Whether there is an NVIDIA GPU that this process may see."""
    if os.environ.get('CUDA_VISIBLE_DEVICES', '0').strip() in ('', '-1', 'NoDevFiles'):
        return False
    folder = pathlib.Path(devices)
    # The file of the first card, and the one of the Windows subsystem.
    if any(folder.glob('nvidia[0-9]*')) or (folder / 'dxg').exists():
        return True
    tool = shutil.which('nvidia-smi')
    if not tool:
        return False
    try:
        # It exits with an error where it finds no driver or no card.
        return subprocess.run([tool, '-L'], capture_output=True, timeout=10).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def has_tpu(devices: str = '/dev') -> bool:
    """Whether there is a TPU, as a device file or named by the environment."""
    if any(pathlib.Path(devices).glob('accel[0-9]*')):
        return True
    return any(os.environ.get(k) for k in ('TPU_NAME', 'TPU_WORKER_ID', 'COLAB_TPU_ADDR'))


def has_plugin(name: str) -> bool:
    """Whether a package that teaches JAX this platform is installed."""
    spec = importlib.util.find_spec('jax_plugins')
    folders = list(spec.submodule_search_locations or []) if spec else []
    return any(name in module.name for module in pkgutil.iter_modules(folders))


def memory(proc: str = '/proc', groups: str = '/sys/fs/cgroup') -> int | None:
    """Bytes of memory that this process can still take, None where that is not known.

    The limits of a container count as well.
    """
    found = []
    lines = _lines(pathlib.Path(proc) / 'meminfo')
    found += [1024 * int(x.split()[1]) for x in lines if x.startswith('MemAvailable:')]
    for limit, used in (
        ('memory.max', 'memory.current'),
        ('memory/memory.limit_in_bytes', 'memory/memory.usage_in_bytes'),
    ):
        numbers = [_lines(pathlib.Path(groups) / x) for x in (limit, used)]
        if all(x and x[0].isdecimal() for x in numbers):
            # Files that are cached can be given up.
            stat = _lines((pathlib.Path(groups) / limit).with_name('memory.stat'))
            cached = sum(int(x.split()[1]) for x in stat if x.startswith('inactive_file '))
            found.append(int(numbers[0][0]) - int(numbers[1][0]) + cached)
    return max(0, min(found)) if found else None


def _lines(path):
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
