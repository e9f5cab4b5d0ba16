"""Settings for all tests: the CPU, and little optimisation, as most of the time is compilation."""

import os
import sys

import pytest

os.environ.setdefault('JAX_PLATFORMS', 'cpu')
FAST = '--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true'
os.environ['XLA_FLAGS'] = f'{os.environ.get("XLA_FLAGS", "")} {FAST}'.strip()


@pytest.fixture(autouse=True)
def same_settings():
    """Programs set up JAX for their whole process, which here has other tests in it."""
    reset()
    yield
    reset()


def reset():
    if 'jax' in sys.modules:
        config = sys.modules['jax'].config
        config.update('jax_platforms', os.environ['JAX_PLATFORMS'])
        config.update('jax_disable_jit', False)
        config.update('jax_debug_nans', False)
