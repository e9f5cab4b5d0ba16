import elements
import numpy as np

from embodied.core import random
from embodied.tests import contracts

INF = np.inf
SPACES = {
    'disc': elements.Space(np.int32, (), 0, 5),
    'offset': elements.Space(np.int64, (), -3, -1),
    'multi': elements.Space(np.int32, (2, 2), 0, np.array([[1, 2], [3, 4]])),
    'bytes': elements.Space(np.uint8, (3,)),
    'flag': elements.Space(bool, (4,)),
    'cont': elements.Space(np.float32, (2,), np.array([-2, 5]), np.array([3, 6])),
    'mixed': elements.Space(
        np.float32, (4,), np.array([-INF, 1, -INF, 0]), np.array([INF, INF, -1, 1])
    ),
    'wide': elements.Space(np.float64, (), np.finfo(np.float64).min, np.finfo(np.float64).max),
    'reset': elements.Space(bool),
}


def draw(seed=0, batch=500):
    agent = random.RandomAgent({}, SPACES, seed)
    carry = agent.init_policy(batch)
    carry, acts, outs = agent.policy(carry, {'is_first': np.zeros(batch, bool)}, mode='train')
    assert outs == {}
    return acts


def test_actions_fit_their_spaces():
    acts = draw()
    assert acts.keys() == SPACES.keys() - {'reset'}
    for key, value in acts.items():
        space = SPACES[key]
        assert value.dtype == space.dtype and value.shape == (500, *space.shape), key
        assert np.isfinite(value).all() and (value >= space.low).all(), key
        assert (value <= space.high).all(), key
        if space.discrete and space.dtype != bool:
            assert (value < space.high).all(), key


def test_every_class_and_the_whole_range_is_drawn():
    acts = draw()
    assert set(acts['disc'].tolist()) == set(range(5))
    assert set(acts['offset'].tolist()) == {-3, -2}
    classes = [[set(acts['multi'][:, i, j].tolist()) for j in range(2)] for i in range(2)]
    assert classes == [[{0}, {0, 1}], [{0, 1, 2}, {0, 1, 2, 3}]]
    assert acts['flag'].mean(0).min() > 0.3 and acts['flag'].mean(0).max() < 0.7
    assert acts['cont'][:, 0].min() < -1.8 and acts['cont'][:, 0].max() > 2.8
    assert acts['mixed'][:, 0].std() > 0.5


def test_seed_decides():
    contracts.assert_same(draw(1), draw(1))
    assert (draw(1)['disc'] != draw(2)['disc']).any()


def test_state_can_be_saved():
    agent = random.RandomAgent({}, SPACES)
    obs = {'is_first': np.zeros(3, bool)}
    agent.policy((), obs)
    data = agent.save()
    _, want, _ = agent.policy((), obs)
    other = random.RandomAgent({}, SPACES, seed=9)
    other.load(data)
    contracts.assert_same(want, other.policy((), obs)[1])
    other.load()


def test_evaluation_does_not_change_what_training_does():
    obs = {'is_first': np.zeros(3, bool)}
    straight, between = random.RandomAgent({}, SPACES), random.RandomAgent({}, SPACES)
    seen = between.policy((), obs, mode='eval')[1]
    wants, gots = straight.policy((), obs)[1], between.policy((), obs)[1]
    contracts.assert_same(wants, gots)
    assert (seen['cont'] != gots['cont']).any()


def test_there_is_nothing_to_load_by_name():
    agent, other = random.RandomAgent({}, SPACES), random.RandomAgent({}, SPACES)
    obs = {'is_first': np.zeros(3, bool)}
    agent.policy((), obs)
    other.load({'params': {}}, regex='.*')
    contracts.assert_same(
        random.RandomAgent({}, SPACES).policy((), obs)[1], other.policy((), obs)[1]
    )


def test_it_learns_nothing():
    agent = random.RandomAgent({}, SPACES)
    source = iter([{'x': 1}])
    assert agent.stream(source) is source
    assert agent.train(agent.init_train(2), {}) == ((), {}, {})
    assert agent.report(agent.init_report(2), {}) == ((), {})
