import numpy as np
import pytest

from embodied.envs import atari, registry
from embodied.tests import contracts

pytest.importorskip('ale_py', reason='ale_py is not installed')


def act(action=0, reset=False):
    return {'action': np.int32(action), 'reset': np.bool_(reset)}


def start(task='breakout', **kwargs):
    env = atari.Atari(task, **{'sticky': False, 'seed': 0, **kwargs})
    return env, env.step(act(reset=True))


def play(env, steps, action=1):
    """Observations until the episode ends, or `steps` of them."""
    obs = []
    while len(obs) < steps and not (obs and obs[-1]['is_last']):
        obs.append(env.step(act(action)))
    return obs


def test_images():
    for gray, channels in ((True, 1), (False, 3)):
        env, obs = start(gray=gray, size=(210, 160))
        assert env.obs_space['image'].shape == obs['image'].shape == (210, 160, channels)
        if not gray:  # At its own size, and right at the start, it is the screen as it is.
            np.testing.assert_array_equal(obs['image'], env.render())


def test_size_is_height_and_width():
    # The walls of Breakout: gray at the top, on the left and on the right, nothing at the bottom.
    _, obs = start(size=(40, 80))
    image = obs['image'][:, :, 0]
    assert image.shape == (40, 80)
    assert (image[5, 5:-5] > 100).all() and (image[8:35, 1] > 100).all()
    assert image[-1].max() == 0


def test_resize():
    images = [start(size=(42, 40), resize=x)[1]['image'] for x in ('pillow', 'area')]
    assert (images[0] != images[1]).any()
    full = start(size=(210, 160))[1]['image'].astype(float)
    mean = full.reshape(42, 5, 40, 4, 1).mean((1, 3))
    assert np.abs(images[1] - mean).max() <= 1


def test_pooling():
    def second(**kwargs):
        env, _ = start('pong', size=(210, 160), **kwargs)
        return [env.step(act(2))['image'].astype(int) for _ in range(20)][-1]

    alone, most, mean = (
        second(pooling=1),
        second(pooling=4),
        second(pooling=4, aggregate='mean'),
    )
    assert (most >= alone).all() and (most > alone).any()
    assert (mean <= most).all() and (mean < most).any()
    single, _ = start('pong', size=(210, 160), repeat=1, pooling=1)
    frames = [single.step(act(2))['image'].astype(int) for _ in range(80)][-4:]
    np.testing.assert_array_equal(most, np.max(frames, 0))


def test_repeat_sums_rewards():
    def rewards(repeat):
        env, _ = start('pong', repeat=repeat, pooling=1)
        return [float(x['reward']) for x in play(env, 800 // repeat)]

    one, four = rewards(1), rewards(4)
    assert sum(four) < -1
    assert four == [sum(one[i : i + 4]) for i in range(0, 4 * len(four), 4)]


def test_time_limit_is_not_terminal_and_the_end_of_the_game_is():
    env, _ = start(length=7)
    obs = play(env, 100)
    assert len(obs) == 7 and obs[-1]['is_last'] and not obs[-1]['is_terminal']
    assert env.step(act())['is_first']
    env, _ = start(length=100000)
    obs = play(env, 5000)
    assert obs[-1]['is_last'] and obs[-1]['is_terminal']
    assert env._ale.lives() == 0


def test_lives():
    ends = {}
    for mode in atari.LIVES:
        env, _ = start(lives=mode)
        obs = play(env, 5000)
        assert obs[-1]['is_terminal']
        ends[mode] = len(obs), env._ale.lives()
        assert env.step(act())['is_first']
        ends[mode] += (env._ale.lives(),)
    assert ends['unused'][1:] == (0, 5)
    assert ends['discount'][1:] == (4, 4)  # The game goes on.
    assert ends['reset'][1:] == (4, 5)
    assert ends['discount'][0] == ends['reset'][0] < ends['unused'][0]


def test_game_that_ended_starts_over_with_discount_too():
    env, _ = start(lives='discount')
    lives = []
    for _ in range(6):
        play(env, 5000)
        env.step(act())
        lives.append(env._ale.lives())
    assert lives == [4, 3, 2, 1, 5, 4]


def test_reset_that_is_asked_for_starts_the_game_over():
    env, _ = start(lives='discount')
    play(env, 5000)
    env.step(act())
    env.step(act())
    env.step(act(reset=True))
    assert env._ale.lives() == 5


def test_noops_sticky_and_autostart():
    firsts = {start(noops=30, seed=i)[0]._ale.getFrameNumber() for i in range(8)}
    assert len(firsts) > 3 and max(firsts) - min(firsts) <= 30
    runs = []
    for sticky in (False, True):
        env, _ = start('pong', sticky=sticky)
        runs.append([env.step(act(2 + i % 2))['image'].tobytes() for i in range(40)])
    assert runs[0] != runs[1]
    plain, fired = (start(autostart=x)[0] for x in (False, True))
    assert plain._ale.getFrameNumber() + 1 == fired._ale.getFrameNumber()


def test_actions_and_reward():
    assert atari.Atari('pong').act_space['action'].classes == 18
    assert atari.Atari('pong', actions='needed').act_space['action'].classes == 6
    env, _ = start('pong', clip_reward=True)
    assert {float(x['reward']) for x in play(env, 300)} == {0.0, -1.0}
    env, _ = start('krull', clip_reward=True)
    assert {float(env.step(act(i % 18))['reward']) for i in range(300)} == {0.0, 1.0}


@pytest.mark.parametrize('sticky', [False, True])
def test_continues_to_the_bit_in_a_fresh_environment(sticky):
    env, _ = start('pong', sticky=sticky, noops=5)
    for i in range(9):
        env.step(act(i % 6))
    other = atari.Atari('pong', sticky=sticky, noops=5, seed=7)
    other.load(env.save())
    for i in range(60):
        action = act(i * 5 % 18, reset=i == 30)
        contracts.assert_same(env.step(action), other.step(action))


@pytest.mark.parametrize(
    'kwargs, match',
    [
        ({'pooling': 5}, r'^env.atari.pooling: got 5, allowed is 1 to repeat, 4$'),
        ({'lives': 'none'}, r"^env.atari.lives: got 'none', allowed are unused, discount, reset$"),
        ({'resize': 'cubic'}, r"^env.atari.resize: got 'cubic', allowed are pillow, area$"),
    ],
)
def test_wrong_options(kwargs, match):
    with pytest.raises(ValueError, match=match):
        atari.Atari('pong', **kwargs)


def test_names_of_games():
    registry.check('atari_james_bond')
    registry.check('atari100k_montezuma_revenge')
    with pytest.raises(ValueError, match="unknown game 'pnog', allowed are adventure, "):
        registry.check('atari_pnog')
