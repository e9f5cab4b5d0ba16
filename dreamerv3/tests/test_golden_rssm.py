"""The dynamics against the recorded numbers."""

import jax
import numpy as np
import pytest

from dreamerv3 import rssm
from dreamerv3.tests import numbers, recordings
from dreamerv3.tests.numbers import close, jitted, sub

pytestmark = pytest.mark.golden


@pytest.fixture(params=recordings.paths('rssm_'), ids=lambda p: p.stem)
def case(request):
    arrays, meta = recordings.load(request.param)
    module = rssm.RSSM(numbers.spaces(meta['act_space']), **meta['config'], name='dyn')
    return module, sub(arrays, 'params'), sub(arrays, 'in'), sub(arrays, 'out'), meta


def test_core_and_prior(case):
    dyn, params, x, want, _ = case
    state = {k: x[k] for k in ('deter', 'stoch')}
    action = {k: v[:, 0] for k, v in sub(x, 'action').items()}

    def fn():
        vector = dyn.action_vector(action)
        return vector, dyn.core(state, dyn._action_input(action)), dyn.prior(state['deter'])

    vector, deter, prior = jitted(fn, params)
    close(vector, want['action_vector'], 'action_vector')
    close(deter, want['core_deter'], 'core_deter')
    close(prior, want['prior_logit'], 'prior_logit')


def test_observe_step(case, monkeypatch):
    dyn, params, x, want, _ = case
    numbers.force(monkeypatch, [want['single/stoch']])
    first = lambda tree: {k: v[:, 0] for k, v in tree.items()}
    args = {k: x[k] for k in ('deter', 'stoch')}, x['tokens'][:, 0], first(sub(x, 'action'))
    _, feat = jitted(lambda: dyn.observe_step(*args, x['reset'][:, 0]), params)
    for key in ('deter', 'stoch', 'logit'):
        close(feat[key], want[f'single/{key}'], key)


def test_observe(case, monkeypatch):
    dyn, params, x, want, _ = case
    numbers.force(monkeypatch, want['observe/stoch'].swapaxes(0, 1))
    state = {k: x[k] for k in ('deter', 'stoch')}

    def fn():
        state_, feat = dyn.observe(state, x['tokens'], sub(x, 'action'), x['reset'])
        return state_, feat, dyn.prior(feat['deter']), *dyn.losses(feat)

    state, feat, prior, losses, metrics = jitted(fn, params)
    for key in ('deter', 'stoch', 'logit'):
        close(feat[key], want[f'observe/{key}'], key)
    for key in state:
        close(state[key], want[f'carry_end/{key}'], key)
    close(prior, want['observe/prior_logit'], 'prior')
    for key in losses:
        close(losses[key], want[f'loss/{key}'], key)
    for key in metrics:
        close(metrics[key], want[f'metric/{key}'], key)


def test_imagine(case, monkeypatch):
    dyn, params, x, want, _ = case
    numbers.force(monkeypatch, want['imagine/stoch'].swapaxes(0, 1))
    action = sub(x, 'action')
    state = {k: x[k] for k in ('deter', 'stoch')}
    fn = lambda: dyn.imagine_actions(state, action)
    _, feat = jitted(fn, params)
    for key in ('deter', 'stoch', 'logit'):
        close(feat[key], want[f'imagine/{key}'], key)


def test_imagine_with_a_policy_is_imagine_with_its_actions(case, monkeypatch):
    dyn, params, x, want, _ = case
    action = sub(x, 'action')
    length = x['tokens'].shape[1]
    numbers.force(monkeypatch, want['imagine/stoch'].swapaxes(0, 1))
    steps = [{k: v[:, t] for k, v in action.items()} for t in range(length)]
    policy = lambda state, seed: steps.pop(0)
    fn = lambda: dyn.imagine({k: x[k] for k in ('deter', 'stoch')}, policy, length)
    _, feat, got = jitted(fn, params)
    close(feat['logit'], want['imagine/logit'], 'logit')
    for key in action:
        close(got[key], action[key], key)


def test_kl(case):
    dyn, _, x, want, meta = case
    free = meta['config']['free_nats']
    kl = lambda post, prior: dyn.dist(post).kl(dyn.dist(prior))
    close(kl(x['kl_post'], x['kl_prior']), want['kl/raw'], 'raw')
    clipped = lambda post, prior: jax.numpy.maximum(kl(post, prior), free)
    close(clipped(x['kl_post'], x['kl_prior']), want['kl/clipped'], 'clipped')
    close(dyn.dist(x['kl_post']).entropy(), want['kl/post_entropy'], 'entropy')
    grads = jax.grad(lambda a, b: clipped(a, b).sum(), (0, 1))(x['kl_post'], x['kl_prior'])
    close(grads[0], want['kl/grad_post'], 'grad_post')
    close(grads[1], want['kl/grad_prior'], 'grad_prior')


def test_scan_is_the_loop(case, monkeypatch):
    dyn, params, x, _, _ = case
    state = {k: x[k] for k in ('deter', 'stoch')}
    fn = lambda: dyn.observe(state, x['tokens'], sub(x, 'action'), x['reset'])
    scanned = jitted(fn, params, seed=3)
    monkeypatch.setattr(numbers.ops, 'scan', numbers.unrolled)
    unrolled = jitted(fn, params, seed=3)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), scanned, unrolled)
