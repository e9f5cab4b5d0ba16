"""Whole training steps against the recorded numbers: context, losses, gradients, new parameters."""

import elements
import jax
import jax.numpy as jnp
import ninjax as nj
import numpy as np
import pytest

from dreamerv3 import agent, context, importer
from dreamerv3.tests import numbers, recordings
from dreamerv3.tests.numbers import either, recording, sub
from embodied.jax import conv, layers, optim

pytestmark = [pytest.mark.golden, pytest.mark.slow]

# Values there are differences of numbers around 1e8 times tiny probabilities.
LOOSE = {'checkpoint_forward': 5e-5}


def make_model(meta):
    """The agent of a recording's config."""
    config, left_out = importer.translate({'agent': meta['agent_config']})
    known = {'dyn.typ', 'enc.typ', 'dec.typ', 'opt.momentum', 'repl_loss.slowtar'}
    assert {k.removeprefix('agent.') for k in left_out} <= known
    settings = elements.Config(**config.agent, replay_context=meta['replay_context'])
    obs_space, act_space = (numbers.spaces(meta[k]) for k in ('obs_space', 'act_space'))
    return agent.Dreamer(obs_space, act_space, settings)


def all_params(model, data, recorded):
    """Recorded parameters, and freshly made ones where none are recorded (optimiser state)."""

    def create():
        return model.train(model.initial(len(data['reward'])), data)

    fresh = nj.init(create)({}, seed=0)
    known = {k: v for k, v in recorded.items() if k in fresh}
    missing = [k for k in fresh if k not in known and not k.startswith(('opt/', 'slowval'))]
    assert not missing, missing
    slow = {k: known['val' + k[7:]] for k in fresh if k.startswith('slowval/') and k not in known}
    return {**fresh, **slow, **known}


def details(model, carry, data):
    """What the recordings have of the world model, on the way to its losses."""
    state, cut, prevact = context.apply(carry, data, model.config.replay_context)
    _, feat, _, _ = model._world_model(state, cut, prevact)
    x = agent.features(feat)
    recons = {k: v.pred() for k, v in model.dec(feat, bdims=2).items()}
    return {
        'ctx_carry': state,
        'prevact': prevact,
        'reset': cut['is_first'],
        'stepid': cut['stepid'],
        'tokens': model.enc(cut, bdims=2),
        'repfeat': feat,
        'prior_logit': model.dyn.prior(feat['deter']),
        'rew_logits': model.rew(x, bdims=2).logits,
        'rew_pred': model.rew(x, bdims=2).pred(),
        'con_logit': model.con(x, bdims=2).logit,
        'policy': {k: fields(v) for k, v in model.pol(x, bdims=2).items()},
        'recon': {k: v[:1, :1] if k in model.dec.images else v for k, v in recons.items()},
    }


def gradient(model, carry, data):
    args = context.apply(carry, data, model.config.replay_context)
    loss = optim.value_and_grad(model.loss, model.opt.paths)
    total, grads, (_, _, terms, metrics) = loss(*args)
    return {'loss_total': total, 'grad': grads, 'losses': terms, 'metrics': metrics}


def fields(dist):
    """Parameters of a policy's distribution by the names of the recordings."""
    if hasattr(dist, 'logits'):
        return {'logits': dist.logits}
    return {'mean': dist.mean, 'stddev': dist.std}


def data_of(arrays):
    """The batch with its latents as they are stored here."""
    data = sub(arrays, 'in/data')
    latents = {k: data.pop(f'dyn/{k}') for k in ('deter', 'stoch')}
    return {**data, **context.encode({k: jnp.asarray(v) for k, v in latents.items()})}


def carry_of(arrays, model):
    state = {k: arrays[f'in/carry_{k}'] for k in model.dyn.entry_space}
    return state, sub(arrays, 'in/carry_action')


def evaluations(monkeypatch, arrays, model, params):
    """The training step: latents and losses, parameters after it, carry, outputs and metrics.

    Where two pixels under a max-pool differ by less than a float resolves, rounding decides which
    of them gets the gradient, and every way to evaluate the same program rounds differently:
    compiled, compiled with convolutions and norms as they were recorded, operation by operation.
    A recorded tensor has to agree with one of them.
    """
    caught = sub(arrays, 'out/caught')
    latents = [*arrays['out/repfeat/stoch'].swapaxes(0, 1)]
    imagined = [*caught['imagine/feat/stoch'].swapaxes(0, 1)]
    acts = sub(caught, 'imag_loss/act')
    actions = [{k: v[:, t] for k, v in acts.items()} for t in range(len(imagined) + 1)]
    carry, data = carry_of(arrays, model), data_of(arrays)
    programs = [lambda fn=fn: fn(model, carry, data) for fn in (details, gradient)]
    train = lambda: model.train(carry, data)
    for compiled, plain in ((True, False), (True, True), (False, True)):
        evaluate = (optimized if plain else jax.jit) if compiled else lambda fn: fn
        run = lambda fn, evaluate=evaluate: evaluate(nj.pure(fn))(
            params, seed=np.zeros(2, np.uint32)
        )
        # The details need the latents, gradient and training the dreams as well.
        with monkeypatch.context() as patch:
            if plain:
                patch.setattr(conv, 'halved', numbers.halved)
                patch.setattr(layers, 'rms_norm', layers.rms_norm.__wrapped__)
            numbers.force(patch, latents + 2 * (latents + imagined), 2 * actions)
            found = {k: v for fn in programs for k, v in nj.flatten(run(fn)[1])[0].items()}
            after, (end, out, metrics) = run(train)
        recalled = context.decode(out['replay'], model.dyn.classes)
        yield {
            'parts': found,
            'after': after,
            'carry': nj.flatten(end[0])[0],
            'latents': recalled,
            'stepid': out['replay'],
            'metrics': metrics,
        }


def optimized(fn):
    """Compiled as in a run, while tests compile in a hurry."""
    flags = {
        'xla_backend_optimization_level': 3,
        'xla_llvm_disable_expensive_passes': False,
    }
    return jax.jit(fn, compiler_options=flags)


def check_step(monkeypatch, arrays, meta, params, absolute=2e-5):
    model = make_model(meta)
    params = all_params(model, data_of(arrays), params)
    want, grads = sub(arrays, 'out'), sub(arrays, 'grad')
    ways = numbers.Kept(evaluations(monkeypatch, arrays, model, params))
    first = next(iter(ways))['parts']

    def check(part, key, value, where=True, absolute=absolute):
        either((way[part] for way in ways), key, value, absolute, where)

    known = {k.split('/')[0] for k in first}
    for key, value in want.items():
        if key.split('/')[0] in known:
            check('parts', key, value)
    for key, value in sub(want, 'metrics').items():
        check('metrics', key, value)
    assert {k for k in first if k.startswith('losses/')} == {
        k for k in want if k.startswith('losses/')
    }
    assert sub(first, 'grad').keys() == grads.keys()
    for key, value in grads.items():
        check('parts', f'grad/{key}', value)
    check('metrics', 'opt/grad_norm', want['grad_norm'])

    # The entries of far bins whose gradients underflow take steps of any size.
    for key, value in sub(arrays, 'params_after').items():
        check('after', key, value, (grads[key] == 0) | (np.abs(grads[key]) >= 1e-12))
    for key in ('lo', 'hi'):
        check('after', f'retnorm/{key}/value', want[f'newstate/retnorm/{key}/value'], absolute=2e-5)
    for key, value in sub(want, 'slow_after').items():
        source = key.replace('slowval/', 'val/')
        check('after', key, value, np.abs(grads.get(source, 1)) >= 1e-12)

    for key, value in sub(want, 'carry_end').items():
        check('carry', key, value)
    check('stepid', 'stepid', want['stepid'])
    for key in ('deter', 'stoch'):
        check('latents', key, want[f'repfeat/{key}'])


@pytest.mark.parametrize('path', recordings.paths('agent_'), ids=lambda p: p.stem)
def test_training_step(path, monkeypatch):
    arrays, meta = recordings.load(path)
    check_step(monkeypatch, arrays, meta, sub(arrays, 'params'))


def test_imported_checkpoint_computes_the_same(monkeypatch):
    arrays, meta = recording('checkpoint_forward')
    params, _ = recording('checkpoint_params')
    check_step(monkeypatch, arrays, meta, sub(params, 'params'), LOOSE['checkpoint_forward'])
