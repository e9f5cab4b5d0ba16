"""What is read of an agent on disk, and how folders that hold none are told."""

import os

import pytest

import dreamerv3
from dreamerv3 import importer, stored
from dreamerv3.tests import small
from embodied.core import checkpoint

PARAMS = {'spaces': {}, 'params': {}}


def damaged(folder, change):
    small.write(folder)
    (file,) = (folder / 'ckpt').glob('*/agent.json')
    file.write_text(change(file.read_text()))
    return folder


def save(folder, data):
    """A logdir whose agent is these data."""
    small.write(folder)
    checkpoint.Checkpoint(folder / 'ckpt', agent=importer.Imported(data)).save(9)
    return folder


CASES = {
    'absent': (lambda x: x / 'absent', 'does not exist'),
    'empty': (lambda x: x, 'holds no checkpoint'),
    'file': (lambda x: __file__, 'holds no checkpoint'),
    'long': (lambda x: 'x' * 300, 'cannot be read'),
    'nobody': (lambda x: '~nobody-of-that-name/run', 'cannot be read'),
    'random': (lambda x: save(x, {'train': {}, 'eval': {}}), 'agent without parameters'),
    'old': (lambda x: save(x, {'params': {}}), 'saved without its spaces'),
    'spaces': (lambda x: save(x, {'params': {}, 'spaces': {'obs': 1}}), 'These are not spaces'),
    'torn': (lambda x: damaged(x, lambda text: text[:-9]), 'no checkpoint that is intact'),
}


@pytest.mark.parametrize('name', CASES)
def test_wrong_folders_are_told_in_one_line(name, tmp_path):
    make, words = CASES[name]
    with pytest.raises(ValueError) as e:
        dreamerv3.load(make(tmp_path))
    assert words in str(e.value) and '\n' not in str(e.value)


def test_options_that_are_unknown(tmp_path):
    small.write(tmp_path)
    with (tmp_path / 'config.yaml').open('a') as f:
        f.write('agent.unknown: 3\n')
    with pytest.raises(ValueError, match=r'agent\.unknown'):
        stored.read(tmp_path)


def test_without_config(tmp_path):
    small.write(tmp_path)
    (tmp_path / 'config.yaml').unlink()
    with pytest.raises(ValueError, match=r'has no config\.yaml'):
        stored.read(tmp_path)


def test_nothing_of_the_folder_is_run(tmp_path, monkeypatch):
    """Neither the module that a task names, nor one that lies there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'hostile.py').write_text('import os; os.mkdir("executed")')
    monkeypatch.syspath_prepend(tmp_path)
    small.write(tmp_path / 'run', task='gym_hostile:Env-v0')
    assert stored.read(tmp_path / 'run').config.task == 'gym_hostile:Env-v0'
    with pytest.raises(ValueError, match='code from elsewhere'):
        stored.make_env(stored.read(tmp_path / 'run'))
    assert not os.path.exists('executed')


def test_makes_its_environment(tmp_path):
    saved = stored.read(dummy(tmp_path))
    env = stored.make_env(saved)
    assert saved.obs_space.keys() <= env.obs_space.keys()
    obs = env.step({'action': 0, 'reset': True})
    assert obs['image'].shape == (12, 12, 3)
    env.close()
    with pytest.raises(ValueError, match='actions are not those of the agent'):
        stored.make_env(saved, 'dummy_cont')


def dummy(folder):
    from embodied.envs import dummy

    env = dummy.Dummy('disc', size=(12, 12))
    obs_space = {k: v for k, v in env.obs_space.items() if not k.startswith('log/')}
    act_space = {k: v for k, v in env.act_space.items() if k != 'reset'}
    small.write(folder, obs_space, act_space, {'env.dummy.size': (12, 12)})
    return folder
