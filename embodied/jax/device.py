"""Which devices JAX runs on and how it is set up; `setup` comes before anything uses a device."""

import ctypes
import os
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec, SingleDeviceSharding

# Options of `setup`.
OPTIONS = ('platform', 'mock_devices', 'prealloc', 'jit', 'debug', 'cache')
OPTIONS += ('deterministic', 'autotune', 'command_buffers')
# What a graphics card may run as one command buffer, besides what XLA does by itself.
LOOPS = '+WHILE,+CONDITIONAL'


def setup(
    platform='auto',
    mock_devices=0,
    prealloc=True,
    jit=True,
    debug=False,
    cache='auto',
    deterministic=False,
    autotune=4,
    command_buffers='on',
):
    """Configure JAX for this process. Again with the same options it changes nothing, and what
    XLA_FLAGS of the user say stays as it is.

    platform      auto (an accelerator if there is one, else cpu), cpu, cuda, tpu
    mock_devices  split the CPU into so many devices, to try sharding without an accelerator
    prealloc      let XLA take most of the GPU's memory at once
    jit           compile; without, programs run operation by operation (slow, for debugging)
    debug         stop at the first NaN that a program produces (slow)
    cache         folder of compiled programs; auto is a folder of the user, off is none

    On graphics cards only:

    deterministic    bit-equal results each time, which is slower
    autotune         how much is tried to find fast kernels, from 0 to 4
    command_buffers  launch kernels together: on, off, or loops for whole loops as well
    """
    flags = gpu_flags(deterministic, autotune, command_buffers)
    os.environ['XLA_FLAGS'] = with_flags(os.environ.get('XLA_FLAGS', ''), flags)
    if platform != 'auto':
        jax.config.update('jax_platforms', {'cuda': 'cuda,cpu'}.get(platform, platform))
    if mock_devices and jax.config.jax_num_cpu_devices != mock_devices:
        jax.config.update('jax_num_cpu_devices', mock_devices)
    os.environ.setdefault('XLA_PYTHON_CLIENT_PREALLOCATE', str(bool(prealloc)).lower())
    jax.config.update('jax_disable_jit', not jit)
    jax.config.update('jax_debug_nans', bool(debug))
    keep_freed_memory()
    if cache != 'off':
        folder = cache_folder() if cache == 'auto' else pathlib.Path(cache).expanduser()
        jax.config.update('jax_compilation_cache_dir', str(folder))
        jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.1)


def gpu_flags(deterministic, autotune, command_buffers):
    """Flags of XLA by name, where an option differs from what XLA does by itself."""
    flags = {}
    if deterministic:
        flags['xla_gpu_deterministic_ops'] = 'true'
    if autotune != 4:
        flags['xla_gpu_autotune_level'] = str(autotune)
    if command_buffers != 'on':
        flags['xla_gpu_enable_command_buffer'] = {'off': '', 'loops': LOOPS}[command_buffers]
    return flags


def with_flags(given, flags):
    """XLA_FLAGS with those of `flags` that are not given already."""
    names = flag_names(given)
    more = [f'--{k}={v}' for k, v in flags.items() if k not in names]
    return ' '.join([*given.split(), *more])


def flag_names(text):
    """Names of the flags in XLA_FLAGS."""
    return {x.lstrip('-').partition('=')[0] for x in text.split()}


def compiler_options(options):
    """Those options of a single program that XLA_FLAGS of the user leave open."""
    names = flag_names(os.environ.get('XLA_FLAGS', ''))
    return {k: v for k, v in options.items() if k not in names}


def keep_freed_memory():
    """Let the C library keep memory that is freed instead of giving it back to the system.

    XLA on CPU allocates its scratch space anew for each program. Where that goes back to the system
    every time, a third of the CPU time of a small agent is spent on page faults. Threads keep heaps
    of their own: what compiling leaves of one in tens of thousands of pieces would be searched for
    each allocation of an update, which then takes a third longer.
    """
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
    if mallopt:  # The GNU C library.
        mmap_max, top_pad, trim_threshold = -4, -2, -1
        mallopt(mmap_max, 0)
        mallopt(top_pad, 64 * 1024**2)
        mallopt(trim_threshold, -1)


def cache_folder():
    """`$XDG_CACHE_HOME` or `~/.cache`, then `embodied/jax`."""
    base = os.environ.get('XDG_CACHE_HOME') or pathlib.Path.home() / '.cache'
    return pathlib.Path(base) / 'embodied' / 'jax'


def dtype(name, devices):
    """Compute type by name; `auto` is float32 on CPU, where bfloat16 is slow, else bfloat16."""
    if name == 'auto':
        name = 'float32' if devices[0].platform == 'cpu' else 'bfloat16'
    return {'float32': jnp.float32, 'bfloat16': jnp.bfloat16}[name]


def unroll(steps, devices):
    """Steps of a loop in one iteration; `auto` is 1 on CPU, where an iteration costs nothing."""
    if steps == 'auto':
        return 1 if devices[0].platform == 'cpu' else 8
    return int(steps)


def fetch(tree, devices):
    """Arrays on the devices as arrays of NumPy.

    From an accelerator all of them are on their way before the first is waited for. On a CPU they
    are only looked at, and asking in advance would take longer than all the rest.
    """
    if devices[0].platform != 'cpu':
        for leaf in jax.tree.leaves(tree):
            leaf.copy_to_host_async()
    return jax.tree.map(np.asarray, tree)


def pick(indices, key):
    """Devices by index among the local ones; `key` is the option to name in the error."""
    devices = jax.local_devices()
    for index in indices:
        if not 0 <= index < len(devices):
            raise ValueError(
                f'jax.{key}: there is no device {index}, only 0 to {len(devices) - 1} '
                f'({devices[0].platform}).'
            )
    return [devices[i] for i in indices]


def shardings(devices):
    """Placements for what every device holds whole, and for what is split over axis 0."""
    if len(devices) == 1:
        single = SingleDeviceSharding(devices[0])
        return single, single
    mesh = jax.sharding.Mesh(np.array(devices), ('batch',))
    return NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec('batch'))
