"""Run loops, named as scripts: they connect agent, replay, environments and logs."""

from .eval_only import eval_only
from .train import train
from .train_eval import train_eval

__all__ = ['eval_only', 'train', 'train_eval']
