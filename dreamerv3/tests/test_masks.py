"""Masks of actions: what may not be taken is never taken, in acting and in imagination."""

import elements
import jax
import ninjax as nj
import numpy as np
import pytest

from dreamerv3 import agent
from dreamerv3.tests import small
from embodied.core import masks

ACTIONS = {
    'choice': elements.Space(np.int32, (), 2, 6),
    'keys': elements.Space(np.int32, (2,), 0, np.array([2, 3])),
    **small.MOVE,
}
MASKS = {f'mask/{k}': masks.space(ACTIONS[k]) for k in ('choice', 'keys')}
FLAGS = {'agent.policy.unimix': 0.5, 'agent.imag_length': 8}


def make(**flags):
    flags = {f'agent.{k.replace("_", ".simple.")}': v for k, v in flags.items()}
    return small.make_model({**small.VECTOR, **MASKS}, ACTIONS, {**FLAGS, **flags})


def allowed(acts, given):
    """Whether actions (..., *shape) are allowed by masks, or their masks allow nothing."""
    results = []
    for key, mask in masks.of(given).items():
        space = ACTIONS[key]
        mask = np.asarray(mask) & masks.exists(space)
        index = np.asarray(acts[key]) - space.low
        taken = np.take_along_axis(mask, index[..., None], -1)[..., 0]
        results.append((taken | ~mask.any(-1)).all() and (index < space.classes).all())
    return all(results)


class TestAgent:
    """With random parameters, and masks that are drawn at random."""

    def test_acting_and_imagining(self):
        model = make()
        obs = small.observation(model, rows=64, first=True)
        shapes = jax.eval_shape(nj.init(lambda: self.run(model, obs)), {}, seed=small.SEED)
        rng = np.random.default_rng(0)
        params = {k: small.random_parameter(k, v.shape, rng) for k, v in shapes.items()}
        # Of a single choice, nearly always.
        params['pol/head/choice/logits/bias'] += 9 * np.eye(4, dtype=np.float32)[1]
        acts, best, (feat, imagined, logps) = small.compiled(lambda obs: self.run(model, obs))(
            params, obs
        )[1]
        acts, best, imagined, logps = jax.device_get((acts, best, imagined, logps))
        for act in (acts, best):
            assert allowed(act, obs)
        free = obs['mask/choice'][:, 1]
        assert (best['choice'][free] == 3).mean() > 0.9
        assert set(best['choice'].tolist()) == {2, 3, 4, 5}
        assert imagined['mask/keys'].shape == (64, 8, 2, 3)
        assert 0.1 < imagined['mask/choice'].mean() < 0.9
        assert allowed(imagined, imagined)
        for key in ('choice', 'keys'):
            assert np.isfinite(logps[key]).all() and (logps[key] > -20).all()
        assert feat['deter'].shape[:2] == (64, 8)

    @staticmethod
    def run(model, obs):
        carry, acts, _ = model.policy(model.initial(64), obs, 'train')
        best = model.policy(model.initial(64), obs, 'eval')[1]
        _, feat, imagined = model.dyn.imagine(carry[0], model.choose, 8)
        start = {k: np.float32(1) * v[:, None] for k, v in carry[0].items()}
        states = {k: jax.numpy.concatenate([start[k], feat[k][:, :-1]], 1) for k in start}
        x = agent.features(states)
        dists = model.pol(x, bdims=2, masks=masks.of(imagined))
        return acts, best, (feat, imagined, {k: d.logp(imagined[k]) for k, d in dists.items()})

    def test_they_are_seen_and_predicted_as_vectors(self):
        model = make()
        data = small.batch(model, rows=1, steps=3)
        run = nj.init(lambda: model.train(model.initial(1), data))
        shapes = jax.eval_shape(run, {}, seed=small.SEED)
        assert shapes['enc/mlp0/kernel'].shape[0] == 3 + 2 * 4 + 2 * 6
        assert shapes['dec/vec/mask_keys/logits/kernel'].shape[1] == 12

    def test_masks_are_needed_to_act_even_if_they_are_not_encoded(self):
        assert list(make(enc_exclude='mask/.*').acted_on) == ['vector', *MASKS]

    def test_masks_that_are_not_predicted(self):
        with pytest.raises(ValueError, match='predicts mask/choice, mask/keys, by which imag') as e:
            make(dec_exclude='mask/.*')
        assert '\n' not in str(e.value)
