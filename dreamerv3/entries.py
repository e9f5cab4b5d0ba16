"""What replay holds of a step besides the transition: latents, as small as no bit is lost.

`context` encodes and decodes them. No JAX here, as their size is told before it is imported.
"""

import elements
import numpy as np

from embodied.core.system import hardware

# The numbers of a compute type as NumPy can hold them: those of bfloat16 by their bits.
NUMBERS = {'float32': np.float32, 'bfloat16': np.uint16}


def spaces(rssm, dtype: str) -> dict:
    """Spaces by key, for a compute type `float32` or `bfloat16` and the sizes of the dynamics."""
    return {
        'dyn/deter': elements.Space(NUMBERS[dtype], (rssm.deter,)),
        'dyn/stoch': elements.Space(index(rssm.classes), (rssm.stoch,), 0, rssm.classes),
    }


def index(classes: int) -> type:
    """The smallest type that counts classes."""
    return np.uint8 if classes <= 256 else np.uint16


def planned(config) -> dict:
    """The spaces that an agent of a whole config will have."""
    if not config.replay_context:
        return {}
    dtype = config.jax.compute_dtype
    if dtype == 'auto':
        cpu = hardware.kind(config.jax.platform) == 'cpu'
        dtype = 'float32' if cpu else 'bfloat16'
    return spaces(config.agent.dyn.rssm, dtype)
