"""Settings for all tests: the CPU, and little optimisation, as most of the time is compilation."""

import os

os.environ.setdefault('JAX_PLATFORMS', 'cpu')
FAST = '--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true'
os.environ['XLA_FLAGS'] = f'{os.environ.get("XLA_FLAGS", "")} {FAST}'.strip()
