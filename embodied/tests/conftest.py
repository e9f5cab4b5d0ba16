"""Runs that several tests look at, made once."""

import pytest

from . import runs


@pytest.fixture(scope='session')
def small_runs(tmp_path_factory):
    """A folder with the logdirs `first` and `second` of agents that act at random."""
    folder = tmp_path_factory.mktemp('small_runs')
    runs.random_run(folder / 'first')
    runs.random_run(folder / 'second', '--seed', '1', '--run.envs', '3')
    return folder
