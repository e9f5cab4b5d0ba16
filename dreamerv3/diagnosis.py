"""What is wrong with the training of the agent, told from its metrics in one line each.

The limits are far from what runs that learn have shown: a policy entropy of 5% and more of its
range, gradient norms that change by up to a factor of 3.3 from one log to the next, and dynamics
losses that stay 0.1% above the free nats.
"""

import math

ENTROPY = 0.01  # Share of the range between the lowest and the highest entropy.
GROWTH = 20  # Of the gradient norm, from one log to the next.
SETTLED = 2000  # Updates before which a model that has learned nothing is no fault.
FREE = 1.0003  # Times the free nats.


def verdicts(metrics: dict, earlier: dict, config) -> list[str]:
    """Lines for averages over the updates since the last log, and over those before it.

    config   the block `agent`
    """
    checks = (finite, gradients, entropy, divergence, returns)
    return [text for check in checks for text in check(metrics, earlier, config)]


def finite(metrics, earlier, config):
    bad = [k for k, v in metrics.items() if not math.isfinite(v)]
    if bad:
        yield f'not finite: {", ".join(bad[:4])}. Look for extreme observations and rewards'
    if metrics.get('skipped'):
        yield 'updates were left out, as they were not finite'


def gradients(metrics, earlier, config):
    new, old = metrics.get('opt/grad_norm', 0), earlier.get('opt/grad_norm', math.inf)
    if new > GROWTH * old:
        clip = '' if config.opt.agc else ', and agent.opt.agc 0.3 clips gradients'
        yield f'gradient norm grew from {old:.3g} to {new:.3g}: a lower agent.opt.lr helps{clip}'


def entropy(metrics, earlier, config):
    for key, value in metrics.items():
        if key.startswith('rand/') and value < ENTROPY:
            yield (
                f'policy of {key[5:]} has collapsed, its entropy is at {value:.1%} of its range: '
                f'a higher agent.imag_loss.actent than {config.imag_loss.actent:g} keeps it trying'
            )


def divergence(metrics, earlier, config):
    free = config.dyn.rssm.free_nats
    if settled(metrics) and free and metrics.get('loss/dyn', math.inf) <= FREE * free:
        yield (
            f'dynamics loss is stuck at the {free:g} free nats, so the latents may carry nothing: '
            'is the reconstruction good? If not, lower agent.dyn.rssm.free_nats'
        )


def returns(metrics, earlier, config):
    """Normalised returns span 1 or more, unless their scale is at its limit."""
    if config.retnorm.impl == 'none' or 'ret_max' not in metrics or not settled(metrics):
        return
    span = metrics['ret_max'] - metrics['ret_min']
    if span < 1 and metrics['adv_mag'] < config.imag_loss.actent:
        yield (
            f'imagined returns differ by {span:.1g} only, below agent.retnorm.limit '
            f'{config.retnorm.limit:g}, so the entropy bonus decides: has any reward been found, '
            'and is it large enough?'
        )


def settled(metrics):
    return metrics.get('opt/updates', 0) >= SETTLED
