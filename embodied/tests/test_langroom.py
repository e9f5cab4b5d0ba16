import numpy as np
import pytest

from embodied.envs import langroom, registry
from embodied.tests import contracts


def act(move=0, talk='', reset=False):
    word = np.int32(langroom.WORDS.index(talk))
    return {'move': np.int32(move), 'talk': word, 'reset': np.bool_(reset)}


def listen(env, obs):
    """The thing that is asked for, and the last observation."""
    words = []
    while not (words and words[-1] == '?'):
        words.append(langroom.WORDS[int(obs['token'])])
        obs = env.step(act())
    assert words[-6:-2] == ['what', 'color', 'is', 'the']
    return words[-2], obs


def test_contract_and_seed():
    contracts.check_env(langroom.LangRoom('answer', size=(40, 56), length=20))
    contracts.check_seed(lambda seed: langroom.LangRoom('answer', seed=seed))


def test_answers():
    env = langroom.LangRoom('answer', length=1000, seed=0)
    obs = env.step(act(reset=True))
    for right in (True, False, True):
        thing, obs = listen(env, obs)
        color = env._colors[thing]
        wrong = next(x for x in langroom.COLORS if x != color)
        obs = env.step(act(talk=color if right else wrong))
        assert obs['reward'] == np.float32(1.0 if right else -0.1)
        assert obs['log/right'] == right and obs['log/wrong'] == (not right)
        assert langroom.WORDS[int(obs['token'])] == ''  # A pause before the next question.
    assert env.step(act(talk='the'))['reward'] == np.float32(-0.01)
    assert env.step(act())['reward'] == 0


def test_question_is_repeated():
    env = langroom.LangRoom('answer', length=1000, seed=0)
    obs = env.step(act(reset=True))
    first, obs = listen(env, obs)
    assert listen(env, obs)[0] == first


def test_colour_is_seen_from_near_only():
    env = langroom.LangRoom('answer', size=(60, 60), seed=0)
    obs = env.step(act(reset=True))
    color = langroom.COLORS[env._colors['ball']]
    seen = lambda obs: (obs['image'] == color).all(-1).any()
    assert not seen(obs)
    for move in (1, 1, 1, 3, 3, 3, 3):
        obs = env.step(act(move))
    assert env._position == (0, 0) and seen(obs)


def test_only_the_time_limit_ends_it():
    env = langroom.LangRoom('answer', length=4, seed=0)
    obs = [env.step(act(reset=i == 0)) for i in range(6)]
    assert [bool(x['is_last']) for x in obs] == [False] * 4 + [True, False]
    assert not any(x['is_terminal'] for x in obs)


def test_unknown_task():
    with pytest.raises(ValueError, match=r"'ask', allowed are answer"):
        registry.check('langroom_ask')
