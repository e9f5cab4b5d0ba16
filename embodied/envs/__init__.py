"""Environments, one file a suite, and the registry that finds them by the name of a task."""

from .registry import Suite, check, make, make_batch, split, suites

__all__ = ['Suite', 'check', 'make', 'make_batch', 'split', 'suites']
