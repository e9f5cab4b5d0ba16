"""Import of official checkpoints: every number arrives, and nothing in a pickle is executed."""

import os
import pickle

import elements
import numpy as np
import pytest
from ruamel.yaml import YAML

from dreamerv3 import agent, checks, importer
from dreamerv3.tests import numbers
from embodied import checks as general
from embodied import config
from embodied.core import checkpoint
from embodied.jax import Agent

OLD, NEW = 'numpy.core.multiarray', 'numpy._core.multiarray'
COUNTERS = {'updates': 19, 'batches': 23, 'actions': 75}
SMALL = {'params': {'a/kernel': np.ones((2, 3), np.float32)}, 'counters': COUNTERS}


class Pickler(pickle._Pickler):
    """Names the module of the function that rebuilds arrays as one version of NumPy does."""

    def __init__(self, file, module):
        super().__init__(file, protocol=4)
        self.module = module

    def save_global(self, obj, name=None):
        if obj is not np._core.multiarray._reconstruct:
            return super().save_global(obj, name)
        self.save(self.module)
        self.save('_reconstruct')
        self.write(pickle.STACK_GLOBAL)
        self.memoize(obj)


class Hostile:
    """Runs a command when it is unpickled."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def dump(path, data, module=NEW):
    with path.open('wb') as file:
        Pickler(file, module).dump(data)


def official(folder, data=SMALL, step=300, options=None, module=NEW):
    """Logdir of an official run; returns it and the folder of its checkpoint."""
    ckpt = folder / 'ckpt' / '20250101T000000F000000'
    ckpt.mkdir(parents=True)
    dump(ckpt / 'agent.pkl', data, module)
    dump(ckpt / 'step.pkl', step)
    dump(ckpt / 'replay.pkl', None)
    (ckpt / 'done').touch()
    (folder / 'ckpt' / 'latest').write_text(ckpt.name)
    if options:
        with (folder / 'config.yaml').open('w') as file:
            YAML(typ='safe').dump(options, file)
    return folder, ckpt


def refused(capsys, *argv):
    """The one line that the program ends with."""
    with pytest.raises(SystemExit) as e:
        importer.main([str(x) for x in argv])
    assert e.value.code == 2
    out, err = capsys.readouterr()
    assert out == ''
    assert err.count('\n') == 1 and err.startswith('Error: ')
    return err


@pytest.mark.golden
@pytest.mark.parametrize('module', [OLD, NEW])
def test_every_parameter_arrives(tmp_path, capsys, module):
    recorded, meta = numbers.recording('checkpoint_params')
    _, forward = numbers.recording('checkpoint_forward')
    params = numbers.sub(recorded, 'params')
    settings = {**forward['agent_config'], 'loss_scales': {'rec': 2.0}}
    settings['policy'] = {**settings['policy'], 'unimix': 0.01}
    options = {
        'task': 'crafter_reward',
        'agent': settings,
        'replay_context': forward['replay_context'],
        'replay': {'size': 1e5, 'priosignal': 'model'},
        'jax': {'platform': 'cuda', 'coordinator': ''},
        'run': {'envs': 3},
    }
    data = {'params': params, 'counters': meta['counters']}
    source, ckpt = official(tmp_path / 'official', data, meta['step'], options, module)
    assert module.encode() in (ckpt / 'agent.pkl').read_bytes()
    importer.main([str(source), str(tmp_path / 'new')])
    said = capsys.readouterr().out
    assert 'replay.priosignal' in said and 'agent.dyn.typ' in said
    assert 'coordinator' not in said

    # The written config is one that the program takes.
    saved = tmp_path / 'new' / 'config.yaml'
    schema = config.Schema(importer.CONFIGS)
    made = schema.resolve([str(saved)])
    general.check(made)
    checks.check(made)
    assert made.agent.policy.unimix == 0
    assert made.agent.loss_scales.rec == 2
    assert made.replay.size == 100_000
    assert made.logdir == str(tmp_path / 'new')
    assert made.jax == schema.resolve().jax and made.run == schema.resolve().run

    settings = elements.Config(**made.agent, replay_context=made.replay_context)
    spaces = (numbers.spaces(forward[k]) for k in ('obs_space', 'act_space'))
    loaded, step = Agent(agent.Dreamer(*spaces, settings)), elements.Counter()
    assert checkpoint.Checkpoint(tmp_path / 'new' / 'ckpt', agent=loaded, step=step).load()
    assert step == meta['step']
    state = loaded.save()
    counters = {k: meta['counters'][k] for k in ('updates', 'actions')}
    assert state['counters'] == {**dict.fromkeys(state['counters'], 0), **counters}
    assert state['params'].keys() == params.keys()
    for key, value in params.items():
        assert state['params'][key].dtype == value.dtype, key
        np.testing.assert_array_equal(state['params'][key], value, key)


@pytest.mark.parametrize('where', ['logdir', 'ckpt', 'folder'])
def test_any_path_of_the_checkpoint(tmp_path, where):
    source, ckpt = official(tmp_path / 'official', options={'seed': 7})
    path = {'logdir': source, 'ckpt': source / 'ckpt', 'folder': ckpt}[where]
    importer.main([str(path), str(tmp_path / 'new')])
    assert config.load(tmp_path / 'new' / 'config.yaml')['seed'] == 7


def test_no_pickle_is_written(tmp_path):
    source, _ = official(tmp_path / 'official')
    importer.main([str(source), str(tmp_path / 'new')])
    kinds = {x.suffix for x in (tmp_path / 'new').rglob('*') if x.is_file()}
    assert kinds == {'.json', '.safetensors'}


def test_hostile_pickles(tmp_path, capsys):
    for i, name in enumerate(('agent.pkl', 'step.pkl')):
        source, ckpt = official(tmp_path / str(i))
        dump(ckpt / name, {'params': Hostile(f'touch {tmp_path}/executed'), 'counters': COUNTERS})
        line = refused(capsys, source, tmp_path / 'new')
        assert name in line and 'system' in line and 'not allowed' in line
    assert not (tmp_path / 'executed').exists()
    assert not (tmp_path / 'new').exists()


@pytest.mark.parametrize(
    'data, words',
    [
        ({**SMALL, 'params': {'a': np.array([None, 'x'], object)}}, 'a has type object'),
        ({**SMALL, 'params': {'a': np.array(['x'])}}, 'a has type <U1'),
        ({**SMALL, 'params': [1, 2]}, 'not an official agent'),
        ({'params': SMALL['params']}, 'not an official agent'),
        (None, 'not an official agent'),
    ],
)
def test_other_content(tmp_path, capsys, data, words):
    source, _ = official(tmp_path / 'official', data)
    assert words in refused(capsys, source, tmp_path / 'new')
    assert not (tmp_path / 'new').exists()


@pytest.mark.parametrize('step', [None, -1, 2.5, [3]])
def test_other_steps(tmp_path, capsys, step):
    source, _ = official(tmp_path / 'official', step=step)
    assert 'not a number of steps' in refused(capsys, source, tmp_path / 'new')
    assert not (tmp_path / 'new').exists()


@pytest.mark.parametrize('size', [0, 1, 50, -1])
def test_cut_file(tmp_path, capsys, size):
    source, ckpt = official(tmp_path / 'official')
    path = ckpt / 'agent.pkl'
    path.write_bytes(path.read_bytes()[:size])
    assert 'agent.pkl' in refused(capsys, source, tmp_path / 'new')
    assert not (tmp_path / 'new').exists()


@pytest.mark.parametrize(
    'text, words',
    [
        ('seed: [1', 'is not YAML'),
        ('seed: soon', 'seed: got'),
        ('seed: [1, two]', 'not that of an official run'),
    ],
)
def test_damaged_config(tmp_path, capsys, text, words):
    source, _ = official(tmp_path / 'official')
    (source / 'config.yaml').write_text(text)
    assert words in refused(capsys, source, tmp_path / 'new')
    assert not (tmp_path / 'new').exists()


def test_wrong_paths(tmp_path, capsys):
    source, ckpt = official(tmp_path / 'official')
    assert 'no agent.pkl' in refused(capsys, tmp_path / 'absent', tmp_path / 'new')
    (ckpt / 'done').unlink()
    assert 'not a complete checkpoint' in refused(capsys, source, tmp_path / 'new')
    (ckpt / 'done').touch()
    (source / 'file').touch()
    assert 'folder' in refused(capsys, source, source / 'file')
    assert not (tmp_path / 'new').exists()


def test_second_import_changes_nothing(tmp_path, capsys):
    source, _ = official(tmp_path / 'official', options={'seed': 7})
    importer.main([str(source), str(tmp_path / 'new')])
    capsys.readouterr()
    before = {x: x.read_bytes() for x in (tmp_path / 'new').rglob('*') if x.is_file()}
    other, _ = official(tmp_path / 'other', step=5, options={'seed': 8})
    assert 'there is a checkpoint already' in refused(capsys, other, tmp_path / 'new')
    assert before == {x: x.read_bytes() for x in (tmp_path / 'new').rglob('*') if x.is_file()}
