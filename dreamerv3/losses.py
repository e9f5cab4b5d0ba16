"""Returns, actor loss and critic losses: arrays and distributions in, arrays out.

Time is axis 1. A normaliser is a callable that takes values and gives (offset, scale); whether it
also updates its statistics is up to the caller.
"""

import jax
import jax.numpy as jnp

from embodied.jax import ops

f32 = jnp.float32
sg = ops.sg


def lambda_return(last, term, rew, boot, disc, lam):
    """Mixture of n-step returns, (B, T) inputs to (B, T - 1).

    R_t = r_t+1 + disc (1 - term_t+1) ((1 - L_t+1) boot_t+1 + L_t+1 R_t+1), with L = lam (1 - last)
    and R_T-1 = boot_T-1. Schulman et al. 2016, in the notation of DreamerV3.
    """
    live = (1 - f32(term))[:, 1:] * disc
    cont = (1 - f32(last))[:, 1:] * lam
    direct = rew[:, 1:] + (1 - cont) * live * boot[:, 1:]

    def step(ret, xs):
        direct, factor = xs
        ret = direct + factor * ret
        return ret, ret

    xs = (direct.T, (live * cont).T)
    _, rets = jax.lax.scan(step, boot[:, -1], xs, reverse=True)
    return rets.T


def imag_loss(
    act,
    rew,
    con,
    policy,
    value,
    slowvalue,
    retnorm,
    valnorm,
    advnorm,
    valstats,
    contdisc=True,
    slowtar=True,
    horizon=333,
    lam=0.95,
    actent=3e-4,
    slowreg=1.0,
):
    """Actor and critic losses (B, H) of imagined trajectories of H + 1 steps.

    act, policy  dicts of actions and of their distributions, (B, H + 1, ...)
    rew, con     predicted rewards and probabilities of going on (B, H + 1)
    value, slowvalue  distributions of the critic and its slow copy (B, H + 1)
    retnorm, valnorm, advnorm  normalisers, used in this order on R, A and R
    valstats     (offset, scale) of valnorm before its update, to denormalise predictions

    weight_t = prod_i<=t disc c_i / disc, so weight_0 = c_0
    R_t      = lambda return; tar = slow or fast value, disc = 1 with contdisc else 1 - 1/horizon
    policy_t = -weight_t (sg(A_t) sum ln pi(a_t) + actent sum H), A_t = (R_t - tar_t) / scale(R)
    value_t  = weight_t (value.loss(R_t) + slowreg value.loss(slow_t))

    Also returns R (B, H) and metrics.
    """
    act, rew, con = sg((act, rew, con))
    voffset, vscale = valstats
    val = sg(value.pred()) * vscale + voffset
    slowval = sg(slowvalue.pred()) * vscale + voffset
    tar = slowval if slowtar else val
    disc = 1.0 if contdisc else 1 - 1 / horizon
    weight = jnp.cumprod(disc * con, 1) / disc
    ret = lambda_return(jnp.zeros_like(con), 1 - con, rew, tar, disc, lam)

    roffset, rscale = retnorm(ret)
    adv = (ret - tar[:, :-1]) / rscale
    aoffset, ascale = advnorm(adv)
    advantage = (adv - aoffset) / ascale
    logpi = sum(policy[k].logp(act[k])[:, :-1] for k in policy)
    ents = {k: dist.entropy()[:, :-1] for k, dist in policy.items()}
    objective = sg(advantage) * logpi + actent * sum(ents.values())

    voffset, vscale = valnorm(ret)
    target = (ret - voffset) / vscale
    losses = {
        'policy': -weight[:, :-1] * objective,
        'value': weight[:, :-1] * critic_loss(value, target, slowvalue, slowreg),
    }
    metrics = {
        'adv': adv.mean(),
        'adv_std': adv.std(),
        'adv_mag': jnp.abs(adv).mean(),
        'rew': rew.mean(),
        'con': con.mean(),
        'val': val.mean(),
        'slowval': slowval.mean(),
        'tar': target.mean(),
        'weight': weight.mean(),
        **return_metrics((ret - roffset) / rscale),
        **entropy_metrics(policy, ents),
    }
    return losses, ret, metrics


def repl_loss(last, term, rew, boot, value, slowvalue, valnorm, horizon=333, lam=0.95, slowreg=1.0):
    """Critic loss (B, K - 1) of replayed steps (B, K), with imagined returns as bootstrap.

    R_t as in lambda_return with real rewards and flags and disc = 1 - 1 / horizon; last steps of
    episodes do not count. Also returns R (B, K - 1).
    """
    ret = lambda_return(last, term, rew, boot, 1 - 1 / horizon, lam)
    voffset, vscale = valnorm(ret)
    loss = critic_loss(value, (ret - voffset) / vscale, slowvalue, slowreg)
    return (1 - f32(last))[:, :-1] * loss, ret


def critic_loss(value, target, slowvalue, slowreg):
    """value.loss(target) + slowreg value.loss(slow prediction); target is one step shorter."""
    pad = jnp.concatenate([target, jnp.zeros_like(target[:, -1:])], 1)
    return (value.loss(sg(pad)) + slowreg * value.loss(sg(slowvalue.pred())))[:, :-1]


def return_metrics(ret):
    """Of normalised returns; the rate is the share of magnitudes of 1 and more."""
    return {
        'ret': ret.mean(),
        'ret_min': ret.min(),
        'ret_max': ret.max(),
        'ret_rate': (jnp.abs(ret) >= 1.0).mean(),
    }


def entropy_metrics(policy, ents):
    """Entropy per action, and for scalar actions where it lies between its bounds (`rand`)."""
    metrics = {}
    for key, dist in policy.items():
        metrics[f'ent/{key}'] = ents[key].mean()
        if not hasattr(dist, 'axes') and hasattr(dist, 'minent'):
            low, high = dist.minent, dist.maxent
            if low.ndim:
                low, high = low[:, :-1], high[:, :-1]
            metrics[f'rand/{key}'] = ((ents[key] - low) / (high - low)).mean()
    return metrics
