"""No option of the runtime without an effect: flips every key that is not the agent's.

A probe is what a config makes: arguments of constructors, shapes of batches, what a run of an agent
that counts does. Each key has one that another value must change. No JAX program is run.
"""

import functools
import importlib
import itertools
import json
import shutil
import types
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

from dreamerv3 import agent, checks
from dreamerv3.tests import small
from embodied import build
from embodied import checks as general
from embodied.core import driver
from embodied.core.system import processes
from embodied.run.parallel import actor
from embodied.tests import runs

SCHEMA = small.SCHEMA
train = importlib.import_module('embodied.run.train')
KEYS = [k for k in SCHEMA.options if not k.startswith('agent.')]
TINY = {
    'task': 'dummy_disc',
    'batch_size': 2,
    'batch_length': 4,
    'report_length': 3,
    'run.envs': 2,
    'run.steps': 40,
    'run.train_ratio': 4.0,
    'run.log_every': 0,
    'run.report_every': 0,
    'run.save_every': 0,
    'run.eval_every': 0,
}


class Case(NamedTuple):
    """How a key shows what it does."""

    probes: list[Callable]  # Each must change.
    value: Any  # Another one.
    base: dict = {}  # Options without which the key does not matter.  # noqa: RUF012
    also: dict = {}  # Options that have to change with it.  # noqa: RUF012


def resolve(folder, flags):
    return SCHEMA.resolve(['debug'], {**TINY, 'logdir': str(folder), **flags})


def arguments(config):
    return dict(build.arguments(config).flat)


def environment(config):
    """Spaces and first observation of the environments."""
    env = build.make_env(config, 0)
    action = {k: np.zeros(s.shape, s.dtype) for k, s in env.act_space.items()}
    obs = env.step({**action, 'reset': np.bool_(True)})
    return str(env.act_space), {k: v.tolist() for k, v in obs.items()}


def env_options(config, monkeypatch):
    """What the function that makes the environments of a suite is called with."""
    seen = {}
    monkeypatch.setattr(build.envs, 'make', lambda task, **kwargs: seen.update(kwargs))
    monkeypatch.setattr(build.wrappers, 'wrap', lambda env: env)
    build.make_env(config, 0)
    return seen


def replay(config):
    made = build.make_replay(config)
    names = ('length', 'capacity', 'online', 'chunksize', 'ram_gb')
    return {**{k: getattr(made, k) for k in names}, 'folder': str(made.store.directory)}


def selector(config):
    """The selectors of a replay with their settings, and keys that are drawn from it."""
    made = build.make_selector(config.replay, config.seed)
    for key in range(10):
        made[key] = [key]
    parts = {'': made, **getattr(made, 'selectors', {})}
    settings = {}
    for name, part in parts.items():
        for key in ('exponent', 'initial', 'zero_on_sample', 'maxfrac', 'sums'):
            value = getattr(part, key, None)
            settings[name, key] = value.tolist() if isinstance(value, np.ndarray) else value
    return settings, [made() for _ in range(20)]


def batches(config, mode):
    """Keys, shapes and position of batches from a replay."""
    made = build.make_replay(config)
    for t in range(100):
        made.add({'t': np.int32(t), 'is_first': np.bool_(t == 0)})
    stream = build.make_stream(config, made, mode)
    return [(x['t'].shape, int(x['consec'][0, 0])) for x in itertools.islice(stream, 4)]


def outputs(config):
    """Outputs of the logger with their settings."""
    made = build.make_logger(config).outputs
    made = [x.output for x in made]
    fps = [x.fps for x in made if hasattr(x, 'fps')]
    return [type(x).__name__ for x in made], fps, [getattr(x, 'pattern', None) for x in made]


def random_agent(config):
    made = build.build_agent(config, lambda *args: 'learning')
    if made == 'learning':
        return made
    obs = {'is_first': np.zeros(9, bool)}
    return {k: v.tolist() for k, v in made.policy((), obs)[1].items()}


def compiled_agent(config, monkeypatch):
    """What sets up JAX, the compiled agent and its model."""
    seen = {}
    monkeypatch.setattr(agent.device, 'setup', lambda **kwargs: seen.update(setup=kwargs))
    monkeypatch.setattr(agent, 'Dreamer', lambda *args: seen.update(model=args[-1].flat))
    monkeypatch.setattr(agent, 'Agent', lambda _, **kwargs: seen.update(agent=kwargs))
    agent.make_agent({}, {}, config)
    return seen


def run(config, monkeypatch, script='train'):
    """What a run does: calls of the agent, environments, logs. Time passes a second per look."""
    seen = {'usage': []}
    now = itertools.count()
    monkeypatch.setattr(train, 'time', types.SimpleNamespace(monotonic=lambda: next(now)))
    monkeypatch.setattr(build.hardware, 'has_gpu', lambda: True)
    usage = lambda **kwargs: seen['usage'].append(kwargs) or types.SimpleNamespace(stats=dict)
    monkeypatch.setattr(train.elements, 'Usage', usage)

    class Driver(driver.Driver):
        def __init__(self, fns, parallel, tolerance):
            seen['parallel'] = parallel
            seen['tolerance'] = tolerance.restarts, tolerance.warn, tolerance.timeout
            super().__init__(fns, False, tolerance)

    monkeypatch.setattr(train.driver, 'Driver', Driver)
    parts = runs.Parts(config.logdir)
    parts.args = build.arguments(config)
    saves, save = [], parts.agent.save
    parts.agent.save = lambda: saves.append(1) or save()
    getattr(parts, script)()
    lines = (parts.logdir / 'metrics.jsonl').read_text().splitlines()
    timed = any(k.startswith('timer/') for x in lines for k in json.loads(x))
    seen |= {'logs': len(lines), 'timed': timed, 'envs': sorted(parts.envs), 'saves': len(saves)}
    seen['kept'] = len(list(parts.logdir.glob('ckpt/0*')))
    seen['videos'] = len(list(parts.logdir.rglob('episode-*.mp4')))
    return {**seen, **parts.agent.counters, 'modes': sorted(set(parts.agent.modes))}


def run_eval(config, monkeypatch):
    return run(config, monkeypatch, 'train_eval')


def eval_only(config, monkeypatch):
    return run(config, monkeypatch, 'eval_only')


def eval_replay(config):
    return build.make_replay(config, 'eval_replay').capacity


def script(config):
    return build.SCRIPTS[config.script]


def roles(config, monkeypatch):
    """Processes that a parallel run starts, and what the watch over them is told."""
    seen = []
    combined = importlib.import_module('embodied.run.parallel.combined')

    def start(self, name, fn, grace=0, restarts=0):
        args = next(x for x in fn.args if hasattr(x, 'actor_addr'))
        tcp = [x for x in (args.actor_addr, args.replay_addr, args.logger_addr) if x[:4] != 'ipc:']
        seen.append((name, restarts, tcp))

    def watch(group, args, names):
        seen.append((args.env_warn, args.env_timeout, args.role_timeout, names))
        return types.SimpleNamespace(dismiss=lambda: None)

    monkeypatch.setattr(processes.Group, 'start', start)
    monkeypatch.setattr(combined.watch, 'Watch', watch)
    monkeypatch.setattr(combined, 'together', lambda *args: None)
    monkeypatch.setattr(combined, 'apart', lambda *args: None)
    build.run(config.update(script='parallel'), lambda *args: None)
    return seen


def acting(config):
    """Rows of a batch of the actor, and how long it waits for them."""
    result = actor.Actor(None, build.arguments(config), None, None)
    return result._rows('train'), result.args.actor_wait


def refused(config):
    """What the checks say about an address that other machines can reach."""
    try:
        general.roles(config.update({'run.actor_addr': '0.0.0.0:5551'}))
    except ValueError as e:
        return str(e)
    return None


PARALLEL = {'script': 'parallel'}
APART = {**PARALLEL, 'run.actor_addr': '127.0.0.1:5551', 'run.replay_addr': '127.0.0.1:5552'}
SECRET = {**PARALLEL, 'run.token_file': __file__}
MIXED = {'replay.fracs.uniform': 0.5, 'replay.fracs.priority': 0.5}
IMPORTANT = {'replay.fracs.uniform': 0.0, 'replay.fracs.priority': 1.0}
RECENT = {'replay.fracs.uniform': 0.0, 'replay.fracs.recency': 1.0}
OFTEN = {'run.eval_every': -1, 'run.eval_eps': 3}
train_batches = functools.partial(batches, mode='train')
report_batches = functools.partial(batches, mode='report')
CASES = {
    'task': Case([environment], 'dummy_cont'),
    'logdir': Case([arguments, replay, compiled_agent], '/tmp/elsewhere'),
    'seed': Case([environment, selector, random_agent, compiled_agent], 1, {'random_agent': True}),
    'script': Case([script], 'train_eval'),
    'random_agent': Case([random_agent], True),
    'batch_size': Case([arguments, train_batches, report_batches], 3),
    'batch_length': Case([arguments, replay, train_batches], 5),
    'report_length': Case([arguments, report_batches], 2),
    'consec_train': Case([replay, train_batches], 2),
    'consec_report': Case([report_batches], 2, {'batch_length': 6}),
    'replay_context': Case([replay, train_batches, report_batches, compiled_agent], 0),
    'logger.outputs': Case([outputs], ('jsonl',)),
    'logger.filter': Case([outputs], 'loss'),
    'logger.timer': Case([arguments, run], False),
    'logger.fps': Case([outputs], 30),
    'env.dummy.size': Case([env_options, environment], (48, 48)),
    'env.dummy.length': Case([env_options], 50),
    'replay.size': Case([replay], 5000),
    'replay.ram_gb': Case([replay], 0.01),
    'replay.eval_size': Case([eval_replay], 5000),
    'replay.online': Case([replay], False),
    'replay.fracs.uniform': Case([selector], 0.25, MIXED, {'replay.fracs.recency': 0.25}),
    'replay.fracs.priority': Case([selector], 0.25, MIXED, {'replay.fracs.recency': 0.25}),
    'replay.fracs.recency': Case([selector], 0.25, MIXED, {'replay.fracs.uniform': 0.25}),
    'replay.prio.exponent': Case([selector], 0.4, IMPORTANT),
    'replay.prio.maxfrac': Case([selector], 0.25, IMPORTANT),
    'replay.prio.initial': Case([selector], 1.0, IMPORTANT),
    'replay.prio.zero_on_sample': Case([selector], False, IMPORTANT),
    'replay.recexp': Case([selector], 2.0, RECENT),
    'replay.chunksize': Case([replay], 64),
    'run.steps': Case([run], 20),
    'run.duration': Case([run], 5),
    'run.train_ratio': Case([run], 8.0),
    'run.updates_per_dispatch': Case([run], 3),
    'run.log_every': Case([run], -1),
    'run.report_every': Case([run], -1),
    'run.save_every': Case([run], -1),
    'run.ckpt_keep': Case([run], 3, {'run.save_every': -1}),
    'run.ckpt_keep_every': Case([run], 10, {'run.save_every': -1}),
    'run.envs': Case([run], 4),
    'run.parallel_envs': Case([run], True),
    'run.report_batches': Case([run], 2, {'run.report_every': -1}),
    'run.final_eval_eps': Case([run], 1),
    'run.eval_every': Case([run_eval], -1),
    'run.eval_envs': Case([run_eval, eval_only], 2, OFTEN),
    'run.eval_eps': Case([run_eval, eval_only], 2, OFTEN),
    'run.eval_video': Case([eval_only], 1),
    'run.actor_addr': Case([roles], '127.0.0.1:5551', PARALLEL),
    'run.replay_addr': Case([roles], '127.0.0.1:5552', PARALLEL),
    'run.logger_addr': Case([roles], '127.0.0.1:5553', PARALLEL),
    'run.public': Case([refused], True, SECRET),
    'run.token_file': Case([arguments], __file__),
    'run.agent_process': Case([roles], True, PARALLEL),
    'run.remote_replay': Case([roles], True, APART),
    'run.remote_envs': Case([roles], True, APART),
    'run.env_index': Case([roles], 4, PARALLEL),
    'run.env_restarts': Case([run, roles], 3, PARALLEL),
    'run.env_warn': Case([run, roles], 5, PARALLEL),
    'run.env_timeout': Case([run, roles], 5, PARALLEL),
    'run.role_timeout': Case([roles], 5, PARALLEL),
    'run.actor_batch': Case([acting], 3),
    'run.actor_wait': Case([acting], 0.5),
    'run.usage.psutil': Case([run], False),
    'run.usage.nvsmi': Case([run], False),
    'jax.platform': Case([compiled_agent], 'cuda'),
    'jax.compute_dtype': Case([compiled_agent], 'bfloat16'),
    'jax.policy_devices': Case([compiled_agent], (1,), {'jax.mock_devices': 2}),
    'jax.train_devices': Case([compiled_agent], (0, 1), {'jax.mock_devices': 2}),
    'jax.mock_devices': Case([compiled_agent], 2),
    'jax.prealloc': Case([compiled_agent], True),
    'jax.jit': Case([compiled_agent], False),
    'jax.debug': Case([compiled_agent], False),
    'jax.nonfinite': Case([compiled_agent], 'stop'),
    'jax.cache': Case([compiled_agent], 'off'),
    'jax.profile': Case([compiled_agent], 3),
    'jax.unroll': Case([compiled_agent], '4'),
    'jax.deterministic': Case([compiled_agent], True),
    'jax.autotune': Case([compiled_agent], 1),
    'jax.command_buffers': Case([compiled_agent], 'loops'),
}
ATARI = {
    'size': (48, 48),
    'repeat': 3,
    'sticky': [False, True],
    'gray': [False, True],
    'actions': ['needed', 'all'],
    'lives': 'reset',
    'noops': 3,
    'autostart': True,
    'pooling': 3,
    'aggregate': 'mean',
    'resize': 'area',
    'clip_reward': True,
    'length': 9,
}
# Other values of the options of suites; that these have an effect is tested beside each suite.
SUITES = {
    'atari': {k: v[0] if isinstance(v, list) else v for k, v in ATARI.items()},
    'atari100k': {k: v[1] if isinstance(v, list) else v for k, v in ATARI.items()},
    'crafter': {'size': (48, 48), 'logs': True},
    'dmc': {
        'size': (48, 48),
        'repeat': 2,
        'proprio': False,
        'image': False,
        'camera': 1,
        'fast': True,
    },
    'loconav': {
        'size': (48, 48),
        'repeat': 2,
        'camera': 1,
        'again': True,
        'termination': True,
        'weaker': 2.0,
    },
    'bsuite': {'results': '/tmp/elsewhere'},
    'minigrid': {'size': (48, 48), 'full': True, 'words': 3},
    'procgen': {'size': (48, 48), 'mode': 'easy', 'levels': 3, 'start': 3},
    'memmaze': {'size': (48, 48)},
    'pinpad': {'size': (48, 48), 'length': 9},
    'langroom': {'size': (48, 48), 'length': 9},
    'metaworld': {
        'size': (48, 48),
        'repeat': 2,
        'proprio': False,
        'image': False,
        'camera': 'topview',
    },
    'dmlab': {
        'size': (48, 48),
        'repeat': 2,
        'mode': 'test',
        'actions': 'impala',
        'episodic': False,
    },
    'minecraft': {'size': (48, 48), 'break_speed': 1.0, 'logs': True, 'length': 9},
    'gym': {'size': (48, 48), 'render': True, 'mask': True},
    'custom': {'size': (48, 48), 'mask': True},
    'gymvec': {'size': (48, 48), 'mode': 'sync'},
    'atarivec': {
        'size': (48, 48),
        'repeat': 2,
        'sticky': False,
        'gray': True,
        'actions': 'needed',
        'noops': 3,
        'length': 9,
    },
    'envpool': {'size': (48, 48)},
    'gymnax': {'length': 9},
    'craftax': {'size': (48, 48)},
    'brax': {'backend': 'spring', 'repeat': 2, 'length': 9},
}
CASES |= {
    f'env.{suite}.{key}': Case([env_options], value, {'task': f'{suite}_task'})
    for suite, options in SUITES.items()
    for key, value in options.items()
}
# Keys that need a checkpoint, see test_checkpoint_to_begin_with.
BEGINNING = {'run.from_checkpoint', 'run.from_checkpoint_regex'}


def look(probe, config, folder):
    """What a probe sees, in an empty folder; what it replaces comes back afterwards."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    patched = probe in (run, run_eval, eval_only, roles, compiled_agent, env_options)
    with pytest.MonkeyPatch.context() as patch:
        return probe(config, patch) if patched else probe(config)


def test_every_key_has_its_case():
    assert {*CASES, *BEGINNING} == {*KEYS}


@pytest.mark.parametrize('key', CASES)
def test_key_changes_what_is_made(key, tmp_path):
    case, folder = CASES[key], tmp_path / 'logdir'
    before = resolve(folder, case.base)
    after = resolve(folder, {**case.base, **case.also, key: case.value})
    assert before[key] != after[key]
    for config in (before, after):
        checks.check(config)
        if key != 'jax.platform':  # There is no other one on every machine.
            general.check(config)
    for probe in case.probes:
        assert look(probe, before, folder) != look(probe, after, folder), probe


@pytest.mark.parametrize('probe', [*dict.fromkeys(x for y in CASES.values() for x in y.probes)])
def test_equal_options_make_the_same(probe, tmp_path):
    folder = tmp_path / 'logdir'
    config = resolve(folder, {'random_agent': probe is random_agent})
    assert look(probe, config, folder) == look(probe, config, folder)


def test_checkpoint_to_begin_with(tmp_path):
    loaded = []
    for i, regex in enumerate(('', '.*', '^enc/')):
        flags = {'run.from_checkpoint': str(tmp_path / '0')} if regex else {}
        flags |= {'run.from_checkpoint_regex': regex} if regex else {}
        parts = runs.Parts(tmp_path / str(i))
        parts.args = build.arguments(resolve(tmp_path / str(i), flags))
        loaded.append(parts.train().agent.loaded)
    assert loaded == [[], ['.*'], ['^enc/']]
