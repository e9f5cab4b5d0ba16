"""Run loops, named as scripts: they connect agent, replay, environments and logs."""

from .train import train

__all__ = ['train']
