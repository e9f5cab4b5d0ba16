"""Normalised scores: agreed bounds of tasks, the score of Crafter."""

import numpy as np
import pytest

from embodied.commands import norms


def test_atari():
    assert len(norms.ATARI) == 57
    assert all(low < high for low, high in norms.ATARI.values())
    assert norms.bounds('atari_pong') == norms.bounds('atari100k_pong') == (-20.7, 14.6)
    assert norms.bounds('atari_montezumas_revenge') == norms.bounds('atari_montezuma_revenge')
    assert norms.bounds('atari_unknown') is None


def test_other_suites():
    assert norms.bounds('dmc_walker_walk') == (0, 1000)
    assert norms.bounds('gym_CartPole-v1') is None


def test_crafter_score():
    # Geometric mean of 1 + s: sqrt(1 * 101) - 1.
    assert norms.crafter(np.array([0.0, 100.0])) == pytest.approx(101**0.5 - 1)
    assert norms.crafter(np.full(22, 14.5)) == pytest.approx(14.5)
