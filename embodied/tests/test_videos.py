"""Videos of episodes: which are collected, and where truth and dream are in a frame."""

import elements
import numpy as np
import pytest
from scope import formats

from embodied.core import base
from embodied.run import videos

GREEN, RED, BLACK = (0, 255, 0), (255, 0, 0), (0, 0, 0)


class Dreamer(base.Agent):
    """Expects the negative of every image called `image`."""

    def __init__(self):
        self.asked = []

    def dream(self, episode, length):
        self.asked.append((len(episode['reward']), length))
        return {'image': 255 - episode['image']} if 'image' in episode else {}


def step(number, first=False, last=False, **more):
    image = np.full((6, 8, 3), 10 * number, np.uint8)
    flags = {'is_first': np.bool_(first), 'is_last': np.bool_(last)}
    return {'image': image, 'reward': np.float32(number), **flags, **more}


def make(folder, amount=1, envs=1, agent=None, length=4):
    args = elements.Config(eval_video=amount, report_length=length, fps=5)
    return videos.Videos(folder, agent or Dreamer(), envs, args)


def play(made, number, worker=0, steps=5):
    for i in range(steps):
        made.add(step(i, i == 0, i == steps - 1), worker)
    made.finish(number)


def read(path):
    return formats.Video().decode(path.read_bytes())


@pytest.mark.parametrize(
    'amount, envs, workers, want',
    [
        (0, 1, (0, 0), []),
        (1, 1, (0, 0), [1]),
        (3, 1, (0, 0), [1, 2]),
        (1, 2, (1, 0, 1), [2]),
        (2, 2, (1, 1, 0), [1, 3]),
        (3, 2, (0, 0, 0, 1), [1, 2, 4]),
    ],
)
def test_every_environment_shows_its_share(tmp_path, amount, envs, workers, want):
    made = make(tmp_path / 'videos', amount, envs)
    for number, worker in enumerate(workers, 1):
        play(made, number, worker)
    names = [f'episode-{x}.mp4' for x in want]
    assert sorted(x.name for x in tmp_path.rglob('*.mp4')) == names
    assert len(made.agent.asked) == len(want)


def test_file(tmp_path, capsys):
    made = make(tmp_path)
    play(made, 7, steps=9)
    frames = read(tmp_path / 'episode-7.mp4')
    factor = 256 // 6
    assert frames.shape == (9, 6 * factor + 4, 16 * factor + 4, 3)
    assert capsys.readouterr().out == f'Wrote {tmp_path}/episode-7.mp4\n'
    assert made.agent.asked == [(9, 4)]


def test_episodes_side_by_side_do_not_mix(tmp_path):
    made = make(tmp_path, amount=2, envs=2)
    for i in range(6):
        for worker in range(2):
            made.add(step(i + worker, first=i == 0, last=i == 3 + worker), worker)
            if i == 3 + worker:
                made.finish(worker + 1)
    assert [x[0] for x in made.agent.asked] == [4, 5]


def test_long_episodes_are_cut(tmp_path, monkeypatch):
    monkeypatch.setattr(videos, 'LIMIT', 6)
    made = make(tmp_path)
    play(made, 1, steps=20)
    assert made.agent.asked == [(6, 4)]


def test_without_images(tmp_path, capsys):
    made = make(tmp_path, amount=2)
    for number in (1, 2):
        made.add({k: v for k, v in step(0, True, True).items() if k != 'image'}, 0)
        made.finish(number)
    assert capsys.readouterr().out == videos.NO_IMAGE + '\n'
    assert list(tmp_path.iterdir()) == []


class TestDraw:
    def images(self, steps=8, height=64, width=32, channels=3, seed=0):
        shape = steps, height, width, channels
        return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)

    def test_truth_left_dream_right(self):
        truth, dream = self.images(), self.images(seed=1)
        frames = videos.draw({'image': truth}, {'image': dream}, 4)
        inside = frames[:, 2:-2, 2:-2][:, ::4, ::4]
        np.testing.assert_array_equal(inside[:, :, :32], truth)
        np.testing.assert_array_equal(inside[:, :, 32:], dream)

    @pytest.mark.parametrize('length, green', [(4, 2), (5, 3), (3, 2), (2, 1)])
    def test_frame_tells_what_is_seen_and_what_is_dreamed(self, length, green):
        frames = videos.draw({'image': self.images()}, {'image': self.images()}, length)
        for edge in (frames[:, 0], frames[:, -1], frames[:, :, 0], frames[:, :, -1]):
            for t, pixels in enumerate(edge):
                assert (pixels == (GREEN if t % length < green else RED)).all(), t

    def test_images_without_a_dream(self):
        images = {'image': self.images(), 'log/view': self.images(4 * 2, 300, 20, 1, seed=2)}
        frames = videos.draw(images, {'image': self.images(seed=1)}, 4)
        assert frames.shape == (8, 256 + 4 + 300 + 4, 4 * 64 + 4, 3)
        below = frames[:, 260:]
        assert (below[:, :2] == BLACK).all() and (below[:, :, 24:] == BLACK).all()
        view = images['log/view'].repeat(3, -1)
        np.testing.assert_array_equal(below[:, 2:-2, 2:22], view)

    @pytest.mark.parametrize('channels', [1, 2, 4])
    def test_channels(self, channels):
        frames = videos.draw({'image': self.images(channels=channels)}, {}, 4)
        assert frames.shape == (8, 260, 4 * 32 + 4, 3)
