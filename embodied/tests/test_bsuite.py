import numpy as np
import pytest

from embodied.envs import bsuite, registry
from embodied.tests import contracts

pytest.importorskip('bsuite', reason='bsuite is not installed')


def rollout(env, steps):
    obs = [env.step({'action': np.int32(0), 'reset': np.bool_(True)})]
    for i in range(steps):
        obs.append(env.step({'action': np.int32(i % 2), 'reset': obs[-1]['is_last']}))
    return obs


def test_end_of_an_episode_is_terminal():
    obs = rollout(bsuite.BSuite('catch/0', seed=0), 30)
    assert [bool(x['is_terminal']) for x in obs] == [bool(x['is_last']) for x in obs]
    assert {float(x['reward']) for x in obs if x['is_last']} <= {1.0, -1.0}
    assert obs[0]['observation'].shape == (10, 5)


@pytest.mark.parametrize('task', ['catch_noise/1', 'umbrella_length/3', 'memory_size/0'])
def test_seed_decides_also_behind_wrappers(task):
    contracts.check_seed(lambda seed: bsuite.BSuite(task, seed=seed), steps=100)


def test_settings_of_one_experiment_differ_with_the_same_seed():
    one, two = (rollout(bsuite.BSuite(f'catch/{i}', seed=0), 40) for i in (0, 1))
    assert any((a['observation'] != b['observation']).any() for a, b in zip(one, two, strict=True))


def test_mapping_of_the_setting_stays():
    one, two = (bsuite.BSuite('bandit/2', seed=s) for s in (1, 2))
    act = lambda i, reset: {'action': np.int32(i), 'reset': np.bool_(reset)}
    rewards = [[(x.step(act(i, True)), x.step(act(i, False)))[1]['reward'] for i in range(11)]
               for x in (one, two)]  # fmt: skip
    assert rewards[0] == rewards[1]


def test_results_are_what_the_package_reads(tmp_path):
    from bsuite.logging import csv_load

    rollout(bsuite.BSuite('catch/0', str(tmp_path), seed=0), 30)
    results, _ = csv_load.load_one_result_set(str(tmp_path)), None
    assert (results['bsuite_id'] == 'catch/0').all() and results['episode'].max() >= 2


def test_names():
    registry.check('bsuite_mnist/0')  # Whose data is fetched when it is made.
    with pytest.raises(ValueError, match=r"unknown bsuite task 'catch', .*EXPERIMENT/NUMBER"):
        registry.check('bsuite_catch')
