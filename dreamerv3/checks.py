"""What must hold between the options of the agent. Runs before JAX is imported and imports none."""

import re

from embodied.envs import registry

from . import inputs

NETWORKS = re.compile(r'agent\.((dyn|enc|dec)\.\w+|(rew|con)head|policy|value)')
# Options of networks that matter at the start, or to losses and actions only.
FREE = ('outscale', 'winit', 'unimix', 'free_nats', 'minstd', 'maxstd')


def structural(key: str, old, new) -> bool:
    """Whether parameters and latents that were made with the old value do not fit the new one."""
    section, _, name = key.rpartition('.')
    if NETWORKS.fullmatch(section):
        return name not in FREE
    if section in ('agent.retnorm', 'agent.valnorm', 'agent.advnorm'):
        return name in ('impl', 'debias')
    if key == 'agent.opt.wd':
        return bool(old) != bool(new)  # It is a part of the optimizer only where it is used.
    return key.startswith('agent.policy_dist_')


def check(config) -> None:
    """ValueError that names key, value and what is allowed for the first thing that cannot work."""
    agent = config.agent
    dynamics(agent.dyn.rssm)
    expressions(agent)
    imagination(config)
    images(config)
    statistics(agent)
    if agent.opt.schedule != 'const' and agent.opt.anneal <= agent.opt.warmup:
        raise ValueError(
            f'agent.opt.anneal: got {agent.opt.anneal}, allowed is more than agent.opt.warmup '
            f'{agent.opt.warmup} for agent.opt.schedule {agent.opt.schedule}'
        )
    if agent.report and config.report_length < 2:
        raise ValueError(
            'report_length: got 1, allowed is 2 or more, half to observe and half to imagine, '
            'or --agent.report False'
        )


def dynamics(rssm):
    if rssm.deter % rssm.blocks:
        raise ValueError(
            f'agent.dyn.rssm.deter: got {rssm.deter}, allowed are multiples of '
            f'agent.dyn.rssm.blocks {rssm.blocks}'
        )


def expressions(agent):
    """The regular expressions that choose observations."""
    for network in ('enc', 'dec'):
        for name in ('include', 'exclude'):
            value = agent[network].simple[name]
            try:
                re.compile(value)
            except re.error as e:
                raise ValueError(
                    f'agent.{network}.simple.{name}: got {value!r}, allowed is a regular '
                    f'expression: {e}'
                ) from None


def images(config):
    """Sizes of images and of the networks for them, where all tasks of the suite have some.

    Elsewhere the agent is told by its spaces.
    """
    name, _ = registry.split(config.task)
    if config.random_agent or not registry.suites[name].images:
        return
    size, agent = config.env[name].size, config.agent
    for key in ('enc', 'dec'):
        mults, outer = agent[key].simple.mults, agent[key].simple.outer
        stages = len(mults) - outer
        if not inputs.fits(size, stages):
            raise ValueError(
                f'env.{name}.size: got {list(size)}, allowed are {inputs.sides(stages)} for '
                f'agent.{key}.simple.mults {list(mults)}'
            )
    dec, deter = agent.dec.simple, agent.dyn.rssm.deter
    width = dec.depth * dec.mults[-1]
    if deter % dec.bspace or width % dec.bspace:
        raise ValueError(
            f'agent.dec.simple.bspace: got {dec.bspace}, allowed are divisors of both '
            f'agent.dyn.rssm.deter {deter} and {width}, agent.dec.simple.depth * the last of mults'
        )


def imagination(config):
    agent, length = config.agent, config.batch_length
    if agent.imag_last > length:
        raise ValueError(
            f'agent.imag_last: got {agent.imag_last}, allowed is at most batch_length {length}'
        )
    steps = agent.imag_last or length
    if agent.repval_loss and steps < 2:
        key = 'agent.imag_last' if agent.imag_last else 'batch_length'
        raise ValueError(
            f'{key}: got 1, allowed is 2 or more for the value loss on replay, '
            'or --agent.repval_loss False'
        )


def statistics(agent):
    if agent.policy.minstd > agent.policy.maxstd:
        raise ValueError(
            f'agent.policy.minstd: got {agent.policy.minstd}, allowed is at most '
            f'agent.policy.maxstd {agent.policy.maxstd}'
        )
    if agent.retnorm.perclo >= agent.retnorm.perchi:
        raise ValueError(
            f'agent.retnorm.perclo: got {agent.retnorm.perclo}, allowed is less than '
            f'agent.retnorm.perchi {agent.retnorm.perchi}'
        )
