import functools
import sys

import elements
import numpy as np
import pytest

from embodied.check_env import __main__ as command
from embodied.check_env import findings, measure, playing
from embodied.tests import fakes

FLAGS = {
    'reward': elements.Space(np.float32),
    **{k: elements.Space(bool) for k in ('is_first', 'is_last', 'is_terminal')},
}
OBS = {'vector': elements.Space(np.float32, (3,)), **FLAGS}
ACT = {'action': elements.Space(np.int32, (), 0, 3), 'reset': elements.Space(bool)}


class Good(fakes.base.Env):
    """Seeded, episodes of random length."""

    obs_space = OBS
    act_space = ACT

    def __init__(self, seed=0):
        self.rng = np.random.default_rng(seed)

    def step(self, action):
        if action['reset']:
            self.left = self.rng.integers(3, 9)
        self.left -= 1
        return self.obs(action['reset'])

    def obs(self, first):
        return {
            'vector': self.rng.normal(size=3).astype(np.float32),
            'reward': np.float32(not first),
            'is_first': np.bool_(first),
            'is_last': np.bool_(self.left == 0),
            'is_terminal': np.bool_(self.left == 0),
        }


def texts(found):
    return '\n'.join(f'{x.level}: {x.text}' for x in found)


def played(env, steps=400):
    return texts(playing.Player(env).play(steps))


def test_nothing_is_found_where_nothing_is_wrong():
    assert findings.spaces(OBS, ACT) == []
    assert played(Good()) == ''
    assert playing.repeats(Good) == []


@pytest.mark.parametrize(
    'obs, act, text',
    [
        ({'is_last': None}, {}, "error: obs_space has no 'is_last'. Add 'is_last': elements.Space"),
        ({}, {'reset': None}, "error: act_space has no 'reset'. Add 'reset': elements.Space(bool)"),
        ({'reward': ((1,), np.float32)}, {}, "error: 'reward' of obs_space is float32 (1,). Make"),
        ({'is_first': ((), np.uint8)}, {}, "error: 'is_first' of obs_space is uint8 ()."),
        ({'action': ((), bool)}, {}, "error: 'action' is the name of an observation and of an"),
        ({'a b': ((), bool)}, {}, "error: The name 'a b' may only hold"),
        ({'a/b': ((), bool)}, {}, "error: The name 'a/b' may only hold"),
        (
            {'mask/action': ((4,), bool)},
            {},
            "error: Space 'mask/action': got bool (4,), allowed is",
        ),
        ({'vector': None}, {}, 'error: There is nothing to observe'),
        ({}, {'action': None}, 'error: There is nothing to do'),
        ({'text': ((), str)}, {}, 'name it log/text if no agent has to see it'),
        ({'image': ((3, 64, 64), np.uint8)}, {}, 'looks like an image with channels in front'),
        ({'image': ((64, 64, 3), np.float32)}, {}, 'taken for 12288 numbers. Return uint8'),
        ({'n': ((), np.int32)}, {}, "warning: 'n' has whole numbers, which are taken for classes"),
        ({'x': ((2,), np.float64)}, {}, "note: 'x' is float64 and becomes float32"),
        ({}, {'action': ((2,), np.float32)}, "warning: Action 'action' has no bounds"),
        ({}, {'action': ((), np.int32)}, "warning: Action 'action' has up to"),
    ],
)
def test_spaces(obs, act, text):
    def change(spaces, changes):
        new = {k: elements.Space(v[1], v[0]) for k, v in changes.items() if v}
        return {k: v for k, v in {**spaces, **new}.items() if k not in changes or changes[k]}

    found = findings.spaces(change(OBS, obs), change(ACT, act))
    assert text in texts(found)


def change(**values):
    """An environment whose observations are changed, by functions of the environment and value."""

    class Changed(Good):
        def step(self, action):
            self.reset = bool(action['reset'])
            obs = super().step(action)
            return {**obs, **{k: fn(self, obs[k]) for k, fn in values.items()}}

    return Changed()


@pytest.mark.parametrize(
    'values, text',
    [
        ({'is_first': lambda env, x: np.bool_(False)}, 'observation of a reset has is_first false'),
        ({'is_first': lambda env, x: x or env.left == 2}, 'is_first is true without a reset'),
        (
            {'reward': lambda env, x: np.float32(1)},
            'error: The reward of a reset is 1.0. Make it 0',
        ),
        ({'is_last': lambda env, x: x or np.bool_(env.reset)}, 'is over at its first observation'),
        ({'vector': lambda env, x: x * np.nan}, "At a reset: Observation 'vector' holds NaN; "),
        ({'vector': lambda env, x: x[:2]}, 'Return it as its space says, or change the space'),
        ({'is_last': lambda env, x: np.bool_(False)}, 'that ends by itself is also the last'),
        ({'extra': lambda env, x: x}, "error: a reset raised KeyError: 'extra'"),
        ({'reward': lambda env, x: np.float32(0)}, 'note: All rewards of 400 random steps are 0'),
    ],
)
def test_flags_and_values(values, text):
    assert text in played(change(**values))


def test_a_limit_of_time_that_looks_like_a_terminal():
    assert 'warning: All ' in played(fakes.Count(length=5))
    assert 'limit of time' not in played(fakes.Count(length=5, terminal=False))


def test_episodes_without_an_end():
    assert 'note: No episode ended within 50' in played(fakes.Count(length=1000), 50)


def test_arrays_that_are_written_to_again():
    class Reusing(Good):
        buffer = np.zeros(3, np.float32)

        def obs(self, first):
            obs = super().obs(first)
            self.buffer[:] = obs['vector']
            return {**obs, 'vector': self.buffer}

    assert "warning: 'vector' is written to after it was returned" in played(Reusing())


def test_seeds():
    different = iter(range(100))
    unseeded = playing.repeats(lambda seed: Good(next(different)))
    assert "with the same seed differ at step 0 in 'vector'" in texts(unseeded)
    same = playing.repeats(lambda seed: Good(3))
    assert texts(same) == 'note: The seed has no effect: nothing here is random'


def test_costs_and_frames():
    facts, frames = measure.measure(fakes.Count(length=5), 20)
    assert facts.length == 5 and facts.speed > 0
    assert facts.nbytes == 4 + 4 + 4 + 8 + 4 * 6 * 3 + 4 + 3 + (4 + 8)
    assert 'log/half' not in facts.obs_space and 'reset' not in facts.act_space
    assert len(frames) == 24 and frames[0].shape == (4, 6, 3)
    assert frames[0][0, 0, 0] == 1 and frames[3][0, 0, 0] == 4


MODULE = """
import functools
from embodied.tests import fakes, test_check_env
good = functools.partial(fakes.Count, length=5, terminal=False)
bad = test_check_env.Bad


def broken():
    raise RuntimeError('no licence')
"""


class Bad(fakes.Count):
    obs_space = {k: v for k, v in fakes.Count().obs_space.items() if k != 'reward'}  # noqa: RUF012

    def close(self):
        raise OSError('again')


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs the command; returns exit code and output."""
    (tmp_path / 'ours_of_a_test.py').write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'path', list(sys.path))
    monkeypatch.setattr(sys, 'dont_write_bytecode', True)

    def fn(*argv):
        with pytest.raises(SystemExit) as info:
            command.main([*argv, '--steps', '50'])
        return info.value.code, ''.join(capsys.readouterr())

    yield fn
    sys.modules.pop('ours_of_a_test', None)


def test_command(run, tmp_path):
    code, text = run('ours_of_a_test:good', '--video', str(tmp_path / 'a.mp4'))
    assert code == 0
    assert 'image                uint8    (4, 6, 3)' in text
    assert '111 bytes a transition' in text and 'steps per CPU second' in text
    assert 'A run would accept it; errors: 0, warnings: 2.' in text  # Counts without bounds.
    assert (tmp_path / 'a.mp4').read_bytes()[4:8] == b'ftyp'


def test_command_with_errors(run):
    code, text = run('ours_of_a_test:bad')
    assert code == 1
    assert "ERROR    obs_space has no 'reward'" in text
    assert 'ERROR    close() raised OSError: again' in text
    assert 'would not accept it; errors: 2' in text and 'bytes' not in text


@pytest.mark.parametrize(
    'argv, text',
    [
        (['nothing_task'], "check_env: error: task: unknown suite 'nothing'"),
        (['ours_of_a_test:broken'], 'RuntimeError: no licence\ncheck_env: error: '),
        (['dummy_disc', '--option', 'sizes=3'], "env.dummy: unknown options ['sizes']"),
        (['dummy_disc', '--agent', 'no_such_agent'], 'there is no module no_such_agent.advice'),
    ],
)
def test_command_without_an_environment(run, argv, text):
    code, output = run(*argv)
    assert code == 2 and text in output


def test_command_with_options_and_a_task_without_images(run, tmp_path):
    pytest.importorskip('gymnasium')
    code, text = run('gym_CartPole-v1', '--video', str(tmp_path / 'a.mp4'))
    assert code == 0 and 'No video: it shows no image' in text
    code, text = run('dummy_disc', '--option', 'size=[8, 8]')
    assert code == 0 and '(8, 8, 3)' in text


def test_the_checker_of_gymnasium_is_asked():
    gymnasium = pytest.importorskip('gymnasium')

    class Outside(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
        action_space = gymnasium.spaces.Discrete(2)

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            return np.full(2, 7, np.float32), {}

    from embodied.envs import from_gym

    make = functools.partial(from_gym.FromGym, Outside())
    inner = command.gymnasium_env(lambda seed: fakes.base.Wrapper(make(seed=seed)))
    assert 'not within the observation space' in texts(playing.gymnasium_says(inner))
    assert command.gymnasium_env(lambda seed: fakes.Count()) is None
