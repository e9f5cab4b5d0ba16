"""Replay context worked by hand: which state, data and actions an update begins with."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamerv3 import context, entries
from embodied.jax import ops

ROWS, STEPS, CLASSES = 3, 5, 4


def data(consec=0):
    """Every value names its row and step: 10 row + step, latents negative."""
    names = np.float32(10 * np.arange(ROWS)[:, None] + np.arange(STEPS))
    return {
        'x': names,
        'move': np.stack([names, names], -1),
        'act': names.astype(np.int32),
        'dyn/deter': -names[..., None],
        'dyn/stoch': names.astype(np.uint8)[..., None] % CLASSES,
        'consec': np.full((ROWS, STEPS), consec, np.int32),
    }


def carry(value=100.0):
    state = {
        'deter': jnp.full((ROWS, 1), value),
        'stoch': jnp.full((ROWS, 1, CLASSES), value),
    }
    return state, {'act': jnp.full(ROWS, 7), 'move': jnp.full((ROWS, 2), 7.0)}


@pytest.mark.parametrize('length', [1, 2])
class TestContext:
    def test_windows_open_from_the_stored_latents(self, length):
        state, _, _ = context.apply(carry(), data(), length)
        stored = -data()['x'][:, length - 1]
        np.testing.assert_array_equal(state['deter'][:, 0], stored)
        index = data()['dyn/stoch'][:, length - 1, 0]
        np.testing.assert_array_equal(state['stoch'][:, 0], np.eye(CLASSES)[index])

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

    def test_only_the_latents_of_the_context_are_needed(self, length):
        batch = context.needed(data(), length)
        assert {k: v.shape[1] for k, v in batch.items() if v.shape[1] != STEPS} == {
            'dyn/deter': length,
            'dyn/stoch': length,
        }
        left, right = (context.apply(carry(), x, length) for x in (data(), batch))
        np.testing.assert_equal(jax.device_get(left), jax.device_get(right))

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


@pytest.mark.parametrize('classes', [4, 256, 257])
@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
class TestStorage:
    def state(self, classes, dtype):
        rng = np.random.default_rng(0)
        index = rng.integers(0, classes, (ROWS, STEPS, 3))
        index[0, 0] = classes - 1
        deter = rng.standard_normal((ROWS, STEPS, 5)) * 10.0 ** rng.integers(
            -9, 9, (ROWS, STEPS, 5)
        )
        deter[0, 0, :2] = -0.0, np.inf
        return {
            'deter': jnp.asarray(deter, dtype),
            'stoch': jnp.asarray(np.eye(classes)[index], dtype),
        }

    def test_no_bit_is_lost(self, classes, dtype):
        with ops.precision(dtype):
            state = self.state(classes, dtype)
            found = context.decode(jax.device_get(context.encode(state)), classes)
        for key, value in state.items():
            assert found[key].dtype == value.dtype == dtype
            assert np.asarray(found[key]).tobytes() == np.asarray(value).tobytes()

    def test_spaces(self, classes, dtype):
        rssm = types.SimpleNamespace(deter=5, stoch=3, classes=classes)
        spaces = entries.spaces(rssm, jnp.dtype(dtype).name)
        with ops.precision(dtype):
            stored = jax.device_get(context.encode(self.state(classes, dtype)))
        assert stored.keys() == spaces.keys()
        for key, space in spaces.items():
            assert stored[key].dtype == space.dtype and stored[key].shape[2:] == space.shape
        assert stored['dyn/stoch'].max() == classes - 1 < spaces['dyn/stoch'].high.max()
        number = 4 if dtype == jnp.float32 else 2
        index = 1 if classes <= 256 else 2
        assert sum(v[0, 0].nbytes for v in stored.values()) == 5 * number + 3 * index

    def test_on_a_machine_with_another_compute_type(self, classes, dtype):
        with ops.precision(jnp.bfloat16):
            state = ops.cast(self.state(classes, dtype))
            stored = context.encode(state)
        with ops.precision(jnp.float32):
            found = context.decode(stored, classes)
        np.testing.assert_array_equal(found['deter'], np.float32(state['deter']))
        assert found['stoch'].dtype == jnp.float32
