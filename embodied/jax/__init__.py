"""JAX side of the runtime: what networks and learners of all agents are made of."""

from . import device, dists, heads, layers, ops, optim
from .agent import Agent
from .model import Model
from .normalize import Normalize
from .optim import Optimizer
from .slow import SlowCopy

__all__ = [
    'Agent',
    'Model',
    'Normalize',
    'Optimizer',
    'SlowCopy',
    'device',
    'dists',
    'heads',
    'layers',
    'ops',
    'optim',
]
