import subprocess
import sys

import pytest

from embodied import envs
from embodied.envs import dummy, registry
from embodied.tests import contracts, fakes


def message(task, **kwargs):
    with pytest.raises(ValueError) as info:
        registry.check(task, **kwargs)
    text = str(info.value)
    assert '\n' not in text
    return text


def test_makes_environments_by_name():
    env = envs.make('dummy_cont', seed=3, size=(8, 12), length=7)
    assert isinstance(env, dummy.Dummy)
    assert env.obs_space['image'].shape == (8, 12, 3)
    contracts.check_env(env)


def test_seed_arrives():
    agent_act = {'action': 0, 'reset': True}
    one, two, other = (
        envs.make('dummy_disc', seed=s).step(agent_act)['image'].tobytes() for s in (1, 1, 2)
    )
    assert one == two != other


def test_unknown_suite_has_the_nearest_name():
    text = message('dumy_disc')
    assert "unknown suite 'dumy' in 'dumy_disc', did you mean 'dummy'?" in text
    assert all(f'{x}, ' in text for x in ('crafter', 'dummy', 'gym'))
    assert 'MODULE:NAME' in text
    assert 'did you mean' not in message('zzz_zzz')
    assert "unknown suite ''" in message('')


@pytest.mark.parametrize('task', ['dummy', 'dummy_', 'gym', 'crafter'])
def test_task_has_to_be_named(task):
    package = registry.suites[task.rstrip('_')].package
    if package:
        pytest.importorskip(package, reason=f'{package} is not installed')
    assert 'allowed is' in message(task) and '_TASK' in message(task)


def test_unknown_task():
    assert "unknown dummy task 'foo', allowed are disc, cont, hybrid" in message('dummy_foo')


def test_unknown_options_are_named():
    text = message('dummy_disc', size=(8, 8), logs=True, flag=1)
    assert text == (
        "env.dummy: unknown options ['logs', 'flag'], allowed are ['size', 'length', 'seed']"
    )
    with pytest.raises(ValueError, match="unknown options \\['logs'\\]"):
        registry.make('dummy_disc', logs=True)


def test_missing_package_has_the_install_command(monkeypatch):
    suite = envs.Suite('nowhere:Env', 'a test', 'no_such_package', "pip install 'x[y]'")
    monkeypatch.setitem(registry.suites, 'absent', suite)
    text = message('absent_task')
    assert text == "task: 'absent_task' needs the package 'no_such_package': pip install 'x[y]'"


def test_hints_of_the_suites_are_extras_of_the_project():
    for suite in ('gym', 'crafter'):
        assert registry.suites[suite].install == f"pip install 'dreamerv3-embodied[{suite}]'"


def test_new_suite_is_one_line(monkeypatch):
    class Mine(fakes.Count):
        def __init__(self, task, length=5, seed=None):
            super().__init__(length, offset=seed)
            self.task = task

    monkeypatch.setattr(fakes, 'Mine', Mine, raising=False)
    monkeypatch.setitem(registry.suites, 'mine', envs.Suite('embodied.tests.fakes:Mine', 'a test'))
    env = registry.make('mine_some_long/name', seed=4, length=9)
    assert (env.task, env.length, env.count) == ('some_long/name', 9, 4)


@pytest.mark.parametrize('task', ['crafter_reward', 'dummy_disc'])
def test_check_imports_neither_jax_nor_the_suites_package(task):
    pytest.importorskip('crafter', reason='crafter is not installed')
    code = (
        f'import sys; from embodied.envs import registry; registry.check({task!r}); '
        'assert not {"jax", "crafter", "gymnasium", "PIL"} & sys.modules.keys()'
    )
    path = [x for x in sys.path if x]
    subprocess.run(
        [sys.executable, '-c', f'import sys; sys.path[:] = {path!r}; {code}'], check=True
    )
