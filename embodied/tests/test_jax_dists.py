"""Distributions beyond the recorded numbers: unequal numbers of classes, mixing, first values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from embodied.jax import dists

CLASSES = np.array([2, 3, 5])
ALLOWED = np.arange(5) < CLASSES[:, None]


def logits(seed=0, batch=4, scale=3.0):
    return scale * jax.random.normal(jax.random.key(seed), (batch, 3, 5))


def probs(dist):
    """Probability of every class, (batch, 3, 5)."""
    shape = dist.logits.shape[:-1]
    return jnp.stack([dist.prob(jnp.full(shape, k)) for k in range(5)], -1)


@pytest.mark.parametrize('unimix', [0.0, 0.1, 1.0])
class TestUnequalClasses:
    def make(self, unimix, seed=0, scale=3.0):
        return dists.Categorical(logits(seed, scale=scale), unimix, ALLOWED)

    def test_probabilities_are_of_the_allowed(self, unimix):
        p = probs(self.make(unimix))
        np.testing.assert_allclose(p.sum(-1), 1, rtol=1e-5)
        assert (np.where(ALLOWED, 0, p) == 0).all()

    def test_probabilities_by_hand(self, unimix):
        dist = self.make(unimix)
        for element, count in enumerate(CLASSES):
            plain = jax.nn.softmax(logits()[:, element, :count], -1)
            want = (1 - unimix) * plain + unimix / count
            np.testing.assert_allclose(probs(dist)[:, element, :count], want, rtol=1e-4)

    def test_unimix_bounds_each_allowed_class(self, unimix):
        p = probs(self.make(unimix, scale=100.0))
        lowest = np.where(ALLOWED, p, 1).min((0, 2))
        assert (lowest >= unimix / CLASSES * 0.999).all()

    def test_forbidden_classes_are_never_drawn(self, unimix):
        # The forbidden logits are by far the largest.
        dist = dists.Categorical(jnp.where(ALLOWED, logits(), 50.0), unimix, ALLOWED)
        draws = np.stack([dist.sample(key) for key in jax.random.split(jax.random.key(1), 500)])
        assert draws.dtype == np.int32
        assert (draws < CLASSES).all() and (draws >= 0).all()
        assert (draws.max((0, 1)) == CLASSES - 1).all()
        assert (dist.pred() < CLASSES).all()

    def test_entropy_and_divergence(self, unimix):
        left, right = self.make(unimix, 0), self.make(unimix, 1)
        p, q = (np.asarray(probs(x), np.float64) for x in (left, right))
        safe = lambda x: np.log(np.where(ALLOWED, x, 1))
        np.testing.assert_allclose(left.entropy(), -(p * safe(p)).sum(-1), rtol=1e-4)
        want = (p * (safe(p) - safe(q))).sum(-1)
        np.testing.assert_allclose(left.kl(right), want, rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(left.kl(left), 0, atol=1e-6)

    def test_gradients_are_finite(self, unimix):
        event = jnp.zeros((4, 3), jnp.int32)

        def objective(x):
            dist = dists.Categorical(x, unimix, ALLOWED)
            other = dists.Categorical(x[::-1], unimix, ALLOWED)
            return (dist.logp(event) + dist.entropy() + dist.kl(other)).sum()

        for scale in (1.0, 100.0):
            grads = jax.grad(objective)(logits(scale=scale))
            assert np.isfinite(grads).all()
            assert (np.where(ALLOWED, 0, grads) == 0).all()

    def test_sums_over_elements(self, unimix):
        dist = dists.Agg(self.make(unimix), 1)
        event = jnp.array([[1, 2, 4]] * 4)
        assert dist.logp(event).shape == dist.entropy().shape == (4,)
        np.testing.assert_allclose(dist.logp(event), dist.dist.logp(event).sum(-1), rtol=1e-6)
        assert dist.sample(jax.random.key(0)).shape == dist.pred().shape == (4, 3)


def test_all_allowed_is_the_same_as_none_given():
    plain, given = (dists.Categorical(logits(), 0.1, x) for x in (None, np.ones((3, 5), bool)))
    np.testing.assert_allclose(plain.logits, given.logits, rtol=1e-5)


def test_one_class_is_certain():
    dist = dists.Categorical(logits(), 0.1, np.arange(5) < np.array([1, 3, 5])[:, None])
    np.testing.assert_allclose(dist.prob(jnp.zeros((4, 3), int))[:, 0], 1, rtol=1e-6)
    np.testing.assert_allclose(dist.entropy()[:, 0], 0, atol=1e-6)


def test_first_class_stands_for_low():
    low = np.array([-3, 0, 10])
    plain, moved = (dists.Categorical(logits(), 0.1, ALLOWED, x) for x in (0, low))
    key = jax.random.key(0)
    np.testing.assert_array_equal(moved.sample(key), plain.sample(key) + low)
    np.testing.assert_array_equal(moved.pred(), plain.pred() + low)
    event = plain.sample(key)
    np.testing.assert_array_equal(moved.logp(event + low), plain.logp(event))
    np.testing.assert_array_equal(moved.loss(event + low), plain.loss(event))


class TestMasks:
    """A mask of the classes that may be taken, other for each row."""

    MASKS = np.array([[1, 1, 0], [0, 1, 1], [0, 0, 1]], bool)
    LOGITS = np.log(np.array([[1, 3, 9], [5, 1, 1], [9, 9, 1]], np.float32))

    def test_probabilities_by_hand(self):
        dist = dists.Categorical(self.LOGITS, 0.2, self.MASKS)
        got = [dist.prob(jnp.full(3, k)) for k in range(3)]
        # 0.8 of the softmax over the allowed, and 0.2 spread over the allowed.
        want = [[0.8 * 0.25 + 0.1, 0.8 * 0.75 + 0.1, 0], [0, 0.5, 0.5], [0, 0, 1]]
        np.testing.assert_allclose(np.transpose(got), want, rtol=1e-5)
        entropy = -(0.3 * np.log(0.3) + 0.7 * np.log(0.7))
        np.testing.assert_allclose(dist.entropy(), [entropy, np.log(2), 0], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(dist.maxent, np.log([2, 2, 2]), rtol=1e-6)
        np.testing.assert_array_equal(dist.pred(), [1, 1, 2])

    def test_allowed_of_what_exists(self):
        exists = np.array([1, 1, 0], bool)
        masks = np.array([[1, 0, 1], [0, 0, 1], [0, 0, 0]], bool)
        want = np.array([[1, 0, 0], [1, 1, 0], [1, 1, 0]], bool)
        np.testing.assert_array_equal(dists.limit(masks, exists), want)
        want = np.array([[1, 0, 1], [0, 0, 1], [1, 1, 1]], bool)
        np.testing.assert_array_equal(dists.limit(masks), want)
