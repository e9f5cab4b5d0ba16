"""Heads beyond the recorded numbers: unequal numbers of classes, first values, wrong outputs."""

import elements
import jax
import ninjax as nj
import numpy as np
import pytest

from embodied.jax import heads

UNEQUAL = elements.Space(np.int32, (3,), 0, np.array([2, 3, 5]))
GRID = elements.Space(np.int32, (2, 2), 0, np.array([[2, 3], [4, 2]]))


def create(head, x, bdims=1):
    """Distribution and parameters of a head for inputs (B, F)."""
    fn = lambda x: head(x, bdims)
    return nj.pure(fn)({}, x, seed=0, create=True)


def inputs(batch=4, width=6):
    return jax.random.normal(jax.random.key(0), (batch, width))


@pytest.mark.parametrize('space, total', [(UNEQUAL, 10), (GRID, 11)])
def test_unequal_classes_have_one_logit_each(space, total):
    params, dist = create(heads.MLPHead(space, 'categorical', 1, 8, name='head'), inputs())
    assert params['head/head/logits/kernel'].shape == (8, total)
    assert params['head/head/logits/bias'].shape == (total,)
    sample = dist.sample(jax.random.key(0))
    assert sample.shape == (4, *space.shape)
    assert (sample < space.high).all()
    assert dist.logp(sample).shape == dist.entropy().shape == (4,)


def test_unequal_classes_read_their_own_logits():
    head = heads.MLPHead(GRID, 'categorical', 0, 8, name='head')
    params, _ = create(head, inputs())
    params['head/head/logits/kernel'] *= 0
    params['head/head/logits/bias'] = np.log(np.arange(1.0, 12.0, dtype=np.float32))
    _, dist = nj.pure(lambda x: head(x, 1))(params, inputs())
    starts, event = np.array([[0, 2], [5, 9]]), np.array([[1, 2], [3, 0]])
    sums = np.array([[3.0, 12.0], [30.0, 21.0]])
    want = np.log((starts + event + 1) / sums).sum()
    np.testing.assert_allclose(dist.logp(np.tile(event, (4, 1, 1))), want, rtol=1e-5)


def test_equal_classes_have_an_axis():
    space = elements.Space(np.int32, (3,), 0, 4)
    params, dist = create(heads.MLPHead(space, 'categorical', 1, 8, name='head'), inputs())
    assert params['head/head/logits/kernel'].shape == (8, 12)
    assert dist.logits.shape == (4, 3, 4)


@pytest.mark.parametrize(
    'space', [UNEQUAL, elements.Space(np.int32, (3,), 0, 4), elements.Space(np.int32, (), 0, 7)]
)
def test_unimix_bounds_the_probabilities(space):
    kw = {'unimix': 0.2, 'outscale': 100.0, 'name': 'head'}
    _, dist = create(heads.MLPHead(space, 'categorical', 1, 8, **kw), inputs())
    dist = getattr(dist, 'dist', dist)
    classes = np.broadcast_to(space.classes, space.shape)
    for k in range(classes.max()):
        there = k < classes
        prob = np.asarray(dist.prob(np.full((4, *space.shape), k)))
        assert (np.where(there, prob - 0.2 / classes, 0) >= -1e-6).all()
        assert (np.where(there, 0, prob) == 0).all()
    # Logits are so far apart that without it some would be lower.
    _, dist = create(heads.MLPHead(space, 'categorical', 1, 8, **kw | {'unimix': 0.0}), inputs())
    assert dist.entropy().min() < 0.01


@pytest.mark.parametrize(
    'shape, low, high', [((), 3, 6), ((2,), [-1, 5], [2, 8]), ((2,), [2, 2], [5, 8])]
)
def test_classes_begin_at_the_low_of_the_space(shape, low, high):
    space = elements.Space(np.int32, shape, np.array(low), np.array(high))
    _, dist = create(heads.MLPHead(space, 'categorical', 1, 8, name='head'), inputs(64))
    for value in (dist.sample(jax.random.key(0)), dist.pred()):
        assert value.shape == (64, *shape)
        assert (value >= space.low).all() and (value < space.high).all()
    sample = dist.sample(jax.random.key(0))
    assert (sample.min(0) == space.low).all()
    assert (dist.loss(sample) > 0).all()


def test_bool_is_two_classes():
    _, dist = create(
        heads.MLPHead(elements.Space(bool, (2,)), 'categorical', 1, 8, name='head'), inputs()
    )
    yes, no = np.ones((4, 2), bool), np.zeros((4, 2), bool)
    dist = dist.dist
    np.testing.assert_allclose(dist.prob(yes) + dist.prob(no), 1, rtol=1e-5)


def test_onehot_needs_equal_classes():
    with pytest.raises(ValueError, match='needs equal classes'):
        create(heads.MLPHead(UNEQUAL, 'onehot', 1, 8, name='head'), inputs())


def test_unknown_output():
    with pytest.raises(ValueError, match=r"Unknown output 'nothing'\. Allowed: binary, "):
        create(heads.MLPHead(UNEQUAL, 'nothing', 1, 8, name='head'), inputs())
