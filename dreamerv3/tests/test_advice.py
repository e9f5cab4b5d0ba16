import elements
import numpy as np
import pytest

from dreamerv3 import advice
from embodied.check_env import __main__ as command
from embodied.check_env import measure

IMAGE = {'image': elements.Space(np.uint8, (64, 64, 3))}
VECTOR = {'vector': elements.Space(np.float32, (4,))}


def advise(monkeypatch, obs=IMAGE, speed=1000.0, gpu=False, cores=8, nbytes=12_000, memory=64e9):
    monkeypatch.setattr(advice.hardware, 'has_gpu', lambda: gpu)
    monkeypatch.setattr(advice.os, 'cpu_count', lambda: cores)
    monkeypatch.setattr(advice, '_memory', lambda: memory)
    facts = measure.Facts(obs, {}, speed, 0.001, 100.0, nbytes)
    lines = advice.advise(facts)[1:]
    return {line.split()[0]: line.split()[1] for line in lines}


def test_size_and_ratio_follow_machine_and_speed(monkeypatch):
    assert advise(monkeypatch)['--configs'] == 'size1m'
    assert advise(monkeypatch, gpu=True)['--configs'] == 'size12m'
    ratios = [int(advise(monkeypatch, speed=x)['--run.train_ratio']) for x in (5, 500, 2e3, 3e4)]
    assert ratios == [512, 256, 128, 64]


def test_environments_keep_the_learner_busy_within_the_cores(monkeypatch):
    slow = advise(monkeypatch, gpu=True, speed=20.0, cores=8)
    assert int(slow['--run.envs']) == 5  # 100 steps per second for an update every two in 20 ms.
    assert int(advise(monkeypatch, gpu=True, speed=20.0, cores=4)['--run.envs']) == 4
    assert int(advise(monkeypatch, speed=20.0)['--run.envs']) == 1
    assert int(advise(monkeypatch, VECTOR, speed=1e5, cores=1)['--run.envs']) == 4


def test_replay_has_to_fit_into_memory(monkeypatch):
    assert '--replay.size' not in advise(monkeypatch, nbytes=50)
    assert advise(monkeypatch, memory=32e9)['--replay.size'] == '1000000'


def test_sizes_of_images(monkeypatch):
    small = {'image': elements.Space(np.uint8, (4, 7, 3))}
    assert '--env.SUITE.size' in advise(monkeypatch, small)
    assert '--env.SUITE.size' not in advise(monkeypatch)


def test_command_takes_advice_and_options_of_the_agent(capsys):
    pytest.importorskip('gymnasium')
    with pytest.raises(SystemExit) as info:
        command.main(['dummy_disc', '--agent', 'dreamerv3', '--steps', '60'])
    text = capsys.readouterr().out
    assert info.value.code == 0
    assert 'Begin with\n  --configs size' in text and '--run.envs' in text
    assert 'image                uint8    (64, 64, 3)' in text
