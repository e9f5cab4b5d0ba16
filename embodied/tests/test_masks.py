import elements
import numpy as np
import pytest

from embodied.check_env import measure, playing
from embodied.core import masks, random, wrappers
from embodied.tests import fakes

CHOICE = elements.Space(np.int32, (), 2, 6)
KEYS = elements.Space(np.int32, (3,), 0, np.array([2, 3, 4]))
SPACES = {
    'choice': CHOICE,
    'keys': KEYS,
    'flags': elements.Space(bool, (2,)),
    'move': elements.Space(np.float32, (2,), -1, 1),
    'reset': elements.Space(bool),
}


class Steps(fakes.Count):
    """Only the action that is the number of the step, modulo 10, may be taken."""

    @property
    def obs_space(self):
        return {**super().obs_space, 'mask/act': elements.Space(bool, (10,))}

    def step(self, action):
        wrong = not action['reset'] and action['act'] != self.steps % 10
        obs = super().step(action)
        obs['mask/act'] = np.arange(10) == self.steps % 10
        assert not wrong, 'This action may not be taken.'
        return obs


@pytest.mark.parametrize('key, shape', [('choice', (4,)), ('keys', (3, 4)), ('flags', (2, 2))])
def test_space_of_a_mask(key, shape):
    space = masks.space(SPACES[key])
    assert space.shape == shape and space.dtype == bool
    masks.check({f'mask/{key}': space}, SPACES)


@pytest.mark.parametrize(
    'obs, words',
    [
        (
            {'mask/other': (4,)},
            "'mask/other': got a mask of 'other', allowed are masks of the disc",
        ),
        ({'mask/move': (2, 1)}, "discrete actions ['choice', 'flags', 'keys']"),
        ({'mask/reset': (2,)}, "got a mask of 'reset'"),
        ({'mask/choice': (6,)}, "'mask/choice': got bool (6,), allowed is bool (4,)"),
        ({'mask/keys': (9,)}, "'mask/keys': got bool (9,), allowed is bool (3, 4)"),
        (
            {'mask/choice': (4,), 'mask_choice': ()},
            "'mask_choice': allowed beside 'mask/choice' is",
        ),
    ],
)
def test_mistakes(obs, words):
    with pytest.raises(ValueError) as e:
        masks.check({k: elements.Space(bool, v) for k, v in obs.items()}, SPACES)
    assert words in str(e.value) and '\n' not in str(e.value)
    with pytest.raises(ValueError, match='got int32'):
        masks.check({'mask/choice': elements.Space(np.int32, (4,), 0, 2)}, SPACES)


def test_environments_with_a_wrong_mask_are_refused():
    class Wrong(Steps):
        @property
        def obs_space(self):
            return {**super().obs_space, 'mask/act': elements.Space(bool, (9,))}

    with pytest.raises(ValueError, match=r"^Space 'mask/act': got bool \(9,\), allowed is bool"):
        wrappers.wrap(Wrong())


class TestRandomAgent:
    def draw(self, mask, key, rows=400):
        agent = random.RandomAgent({}, SPACES)
        obs = {'is_first': np.zeros(rows, bool), f'mask/{key}': np.array([mask] * rows, bool)}
        value = agent.policy((), obs)[1][key]
        assert value.dtype == SPACES[key].dtype and value.shape == (rows, *SPACES[key].shape)
        return value

    def test_takes_what_is_allowed_equally_often(self):
        values, counts = np.unique(self.draw([0, 1, 0, 1], 'choice'), return_counts=True)
        assert values.tolist() == [3, 5] and counts.min() > 150

    def test_of_several_elements(self):
        # The third of the first one does not exist, of the last one nothing is allowed.
        values = self.draw([[0, 1, 1, 1], [1, 0, 1, 0], [0, 0, 0, 0]], 'keys')
        found = [sorted(set(x.tolist())) for x in values.T]
        assert found == [[1], [0, 2], [0, 1, 2, 3]]

    def test_of_flags(self):
        values = self.draw([[0, 1], [1, 0]], 'flags')
        assert values[:, 0].all() and not values[:, 1].any()

    def test_other_actions_are_as_without(self):
        agents = [random.RandomAgent({}, {'move': SPACES['move']}) for _ in range(2)]
        obs = {'is_first': np.zeros(3, bool)}
        moves = [agents[0].policy((), obs)[1], agents[1].policy((), {**obs, 'other': 1})[1]]
        np.testing.assert_array_equal(moves[0]['move'], moves[1]['move'])


def test_check_env_takes_what_is_allowed():
    assert not [x for x in playing.Player(Steps()).play(50) if x.level == 'error']
    assert not [x for x in playing.repeats(lambda seed: Steps()) if x.level == 'error']
    facts, _ = measure.measure(Steps(), 20)
    assert facts.length == 5
