"""Replay context worked by hand: which state, data and actions an update begins with."""

import jax.numpy as jnp
import numpy as np
import pytest

from dreamerv3 import context
from embodied.jax import ops

ROWS, STEPS = 3, 5


def data(consec=0):
    """Every value names its row and step: 10 row + step, latents negative."""
    names = np.float32(10 * np.arange(ROWS)[:, None] + np.arange(STEPS))
    return {
        'x': names,
        'move': np.stack([names, names], -1),
        'act': names.astype(np.int32),
        'dyn/deter': -names[..., None],
        'dyn/stoch': -names[..., None, None].repeat(2, -1),
        'consec': np.full((ROWS, STEPS), consec, np.int32),
    }


def carry(value=100.0):
    state = {
        'deter': jnp.full((ROWS, 1), value),
        'stoch': jnp.full((ROWS, 1, 2), value),
    }
    return state, {'act': jnp.full(ROWS, 7), 'move': jnp.full((ROWS, 2), 7.0)}


@pytest.mark.parametrize('length', [1, 2])
class TestContext:
    def test_windows_open_from_the_stored_latents(self, length):
        state, _, _ = context.apply(carry(), data(), length)
        stored = -data()['x'][:, length - 1]
        np.testing.assert_array_equal(state['deter'][:, 0], stored)
        np.testing.assert_array_equal(state['stoch'][:, 0, 1], stored)

    def test_later_parts_go_on_from_the_carry(self, length):
        state, _, _ = context.apply(carry(), data(consec=1), length)
        for value in state.values():
            np.testing.assert_array_equal(value, 100)

    def test_each_row_by_itself(self, length):
        batch = data()
        batch['consec'][1] = 2
        state, _, _ = context.apply(carry(), batch, length)
        want = -batch['x'][:, length - 1]
        want[1] = 100
        np.testing.assert_array_equal(state['deter'][:, 0], want)

    def test_data_lose_the_context_and_the_latents(self, length):
        _, cut, _ = context.apply(carry(), data(), length)
        assert set(cut) == {'x', 'move', 'act', 'consec'}
        np.testing.assert_array_equal(cut['x'], data()['x'][:, length:])

    @pytest.mark.parametrize('consec', [0, 1])
    def test_previous_actions_come_from_the_context(self, length, consec):
        _, cut, prevact = context.apply(carry(), data(consec), length)
        assert set(prevact) == {'act', 'move'}
        np.testing.assert_array_equal(prevact['act'], cut['x'] - 1)
        np.testing.assert_array_equal(prevact['move'][..., 1], cut['x'] - 1)

    def test_latents_get_the_compute_type(self, length):
        with ops.precision(jnp.bfloat16):
            before = ops.cast(carry()[0]), carry()[1]
            state, _, _ = context.apply(before, data(), length)
        assert all(x.dtype == jnp.bfloat16 for x in state.values())


class TestNoContext:
    def test_state_and_action_come_from_the_carry(self):
        for consec in (0, 1):
            state, cut, prevact = context.apply(carry(), data(consec), 0)
            for value in state.values():
                np.testing.assert_array_equal(value, 100)
            np.testing.assert_array_equal(cut['x'], data()['x'])
            np.testing.assert_array_equal(prevact['act'][:, 0], 7)
            np.testing.assert_array_equal(prevact['act'][:, 1:], data()['act'][:, :-1])
            np.testing.assert_array_equal(prevact['move'][:, 0], 7)

    def test_latents_are_not_needed(self):
        batch = {k: v for k, v in data().items() if not k.startswith('dyn/')}
        _, cut, _ = context.apply(carry(), batch, 0)
        assert cut.keys() == batch.keys()
