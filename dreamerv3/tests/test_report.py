"""Reports: the open-loop video, gradient norms, and that nothing is learned from them."""

import functools

import elements
import jax.numpy as jnp
import numpy as np
import pytest

from dreamerv3 import report
from dreamerv3.tests import small

GREEN, RED = (0, 255, 0), (255, 0, 0)
CAMERAS = {
    'front': elements.Space(np.uint8, (12, 16, 3)),
    'top': elements.Space(np.uint8, (12, 16, 1)),
    'vector': elements.Space(np.float32, (3,)),
    **small.REWARD,
}


def clip(rows=3, steps=6, size=(8, 10), channels=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (rows, steps, *size, channels)).astype(np.uint8)


def tiles(video, rows=3):
    """A video (T, H, B W, 3) as (B, T, H, W, 3)."""
    return np.stack(np.split(np.asarray(video), rows, 2))


class TestVideo:
    def make(self, truth=None, pred=None, half=3):
        truth = clip() if truth is None else truth
        pred = clip(seed=1) if pred is None else pred
        return np.asarray(report.video(truth, jnp.float32(pred), half))

    def test_form(self):
        video = self.make()
        border = 2 * report.BORDER
        assert video.shape == (6 + report.PAUSE, 3 * 8 + border, 3 * (10 + border), 3)
        assert video.dtype == np.uint8
        assert video.shape[1] % 2 == video.shape[2] % 2 == 0

    def test_truth_prediction_and_error_below_each_other(self):
        truth, pred = clip(), clip(seed=1)
        b = report.BORDER
        inside = tiles(self.make(truth, pred))[:, :6, b:-b, b:-b]
        np.testing.assert_array_equal(inside[:, :, :8], truth)
        np.testing.assert_array_equal(inside[:, :, 8:16], pred)
        error = (np.float32(pred) - truth + 255) / 2
        np.testing.assert_array_equal(inside[:, :, 16:], error.astype(np.uint8))

    def test_frames_are_green_then_red(self):
        video = tiles(self.make())[:, :6]
        for edge in (video[:, :, 0], video[:, :, -1], video[:, :, :, 0], video[:, :, :, -1]):
            assert (edge[:, :3] == GREEN).all()
            assert (edge[:, 3:] == RED).all()

    def test_pause_is_black(self):
        video = self.make()
        assert (video[6:] == 0).all()
        assert all(frame.any() for frame in video[:6])

    @pytest.mark.parametrize('channels', [1, 2, 3, 4])
    def test_channels(self, channels):
        truth = clip(channels=channels)
        video = tiles(self.make(truth, clip(channels=channels, seed=1)))
        b = report.BORDER
        shown = video[:, :6, b : b + 8, b:-b]
        want = truth[..., :3] if channels >= 3 else truth[..., :1].repeat(3, -1)
        np.testing.assert_array_equal(shown, want)


@functools.cache
def reported(replay_context=1, **flags):
    """Model, parameters, function of (params, data) to (params, (carry, metrics))."""
    flags = {f'agent.{k}': v for k, v in flags.items()}
    model = small.make_model(CAMERAS, flags=flags, replay_context=replay_context)
    params = small.create(model)
    run = small.compiled(lambda data: model.report(model.initial(len(data['reward'])), data))
    return model, params, run


def halves(video, rows):
    """Predictions of the observed and the imagined half, (B, T / 2, H, W, 3) each."""
    b = report.BORDER
    pred = tiles(video, rows)[:, : -report.PAUSE, b + 12 : b + 24, b:-b]
    return np.split(pred, 2, 1)


class TestReport:
    def test_videos_of_all_cameras(self):
        model, params, run = reported()
        data = small.batch(model, rows=2, steps=5)
        _, (_, metrics) = run(params, data)
        videos = {k: np.asarray(v) for k, v in metrics.items() if v.ndim}
        assert set(videos) == {'openloop/front', 'openloop/top'}
        b = report.BORDER
        for key, video in videos.items():
            assert video.shape == (4 + report.PAUSE, 3 * 12 + 2 * b, 2 * (16 + 2 * b), 3)
            assert video.dtype == np.uint8
            truth = tiles(video, 2)[:, :4, b : b + 12, b:-b]
            want = np.broadcast_to(data[key.split('/')[1]][:, 1:], truth.shape)
            np.testing.assert_array_equal(truth, want)

    def test_imagined_half_does_not_see_the_observations(self):
        model, params, run = reported()
        data = small.batch(model, rows=2, steps=5)
        changed = {**data, 'front': data['front'].copy(), 'vector': data['vector'].copy()}
        changed['front'][:, 3:] = 0
        changed['vector'][:, 3:] = 0
        one, two = (run(params, x)[1][1]['openloop/front'] for x in (data, changed))
        np.testing.assert_array_equal(halves(one, 2), halves(two, 2))
        changed['front'][:, 1:3] = 0
        three = run(params, changed)[1][1]['openloop/front']
        assert not np.array_equal(halves(one, 2)[0], halves(three, 2)[0])

    def test_imagined_half_follows_the_actions(self):
        model, params, run = reported()
        # Rounding to bytes would hide what fresh parameters make of it.
        params = {k: 30 * v if k.startswith('dec/imgout') else v for k, v in params.items()}
        data = small.batch(model, rows=2, steps=5)
        changed = {**data, 'action': (data['action'] + 1) % 4}
        changed['action'][:, :2] = data['action'][:, :2]
        one, two = (run(params, x)[1][1]['openloop/front'] for x in (data, changed))
        np.testing.assert_array_equal(halves(one, 2)[0], halves(two, 2)[0])
        assert not np.array_equal(halves(one, 2)[1], halves(two, 2)[1])

    def test_nothing_changes(self):
        model, params, run = reported()
        after, _ = run(params, small.batch(model))
        assert after.keys() == params.keys()
        assert {'retnorm/lo/value', 'slowval_count/value', 'opt/step/value'} <= params.keys()
        for key, value in params.items():
            np.testing.assert_array_equal(after[key], value, key)

    def test_losses(self):
        model, params, run = reported()
        _, (_, metrics) = run(params, small.batch(model))
        losses = {k.split('/')[1] for k in metrics if k.startswith('loss/')}
        world = {'front', 'top', 'vector', 'rew', 'con', 'dyn', 'rep'}
        assert losses == world | {'policy', 'value', 'repval'}
        assert all(np.isfinite(v).all() for v in metrics.values())
        assert not any(k.startswith('gradnorm/') for k in metrics)

    def test_carry(self):
        model, params, run = reported()
        data = small.batch(model)
        _, ((state, prevact), _) = run(params, data)
        assert {k: v.shape[1:] for k, v in state.items()} == {
            k: s.shape for k, s in model.dyn.entry_space.items()
        }
        np.testing.assert_array_equal(prevact['action'], data['action'][:, -1])

    def test_at_most_six_rows(self):
        model, params, run = reported()
        _, (_, metrics) = run(params, small.batch(model, rows=8, steps=3))
        assert metrics['openloop/top'].shape[2] == report.ROWS * (16 + 2 * report.BORDER)

    def test_off(self):
        model = small.make_model(CAMERAS, flags={'agent.report': False})
        carry = model.initial(2)
        assert model.report(carry, small.batch(model)) == (carry, {})


class TestDream:
    """What the model expects to see in an episode."""

    def make(self, steps=6, seen=3):
        model, params, _ = reported()
        # Rounding to bytes would hide what fresh parameters make of it.
        params = {k: 30 * v if k.startswith('dec/imgout') else v for k, v in params.items()}
        data = small.batch(model, rows=1, steps=steps)
        data = {k: v for k, v in data.items() if k in {*model.obs_space, *model.act_space}}
        return model, data, lambda data: run_dream(seen)(params, data)[1]

    def test_images(self):
        model, data, run = self.make()
        (state, prevact), images = run(data)
        assert {k: v.shape for k, v in images.items()} == {
            'front': (1, 6, 12, 16, 3),
            'top': (1, 6, 12, 16, 1),
        }
        assert all(v.dtype == np.uint8 for v in images.values())
        assert {k: v.shape[1:] for k, v in state.items()} == {
            k: s.shape for k, s in model.dyn.entry_space.items()
        }
        np.testing.assert_array_equal(prevact['action'], data['action'][:, -1])

    def test_first_half_is_seen_and_the_second_is_dreamed(self):
        _, data, run = self.make()
        before = run(data)
        changed = {k: data[k].copy() for k in data}
        changed['front'][:, 3:] = 255 - changed['front'][:, 3:]
        carry, images = run(changed)
        np.testing.assert_array_equal(images['front'], before[1]['front'])
        # But in the end all of it has been seen.
        assert not np.array_equal(carry[0]['deter'], before[0][0]['deter'])
        changed['action'][:, 3] = (changed['action'][:, 3] + 1) % 4
        images = run(changed)[1]
        np.testing.assert_array_equal(images['front'][:, :4], before[1]['front'][:, :4])
        assert not np.array_equal(images['front'][:, 4:], before[1]['front'][:, 4:])

    def test_without_images(self):
        model = small.make_model()
        assert model.dream('carry', {}, 3) == ('carry', {})


@functools.cache
def run_dream(seen):
    model = reported()[0]
    return small.compiled(lambda data: model.dream(model.initial(1), data, seen))


def test_gradient_norms():
    model = small.make_model(flags={'agent.report_gradnorms': True})
    params = small.create(model)
    run = small.compiled(lambda data: model.report(model.initial(2), data))
    after, (_, metrics) = run(params, small.batch(model, steps=3))
    losses = {k.split('/')[1] for k in metrics if k.startswith('loss/')}
    norms = {k.split('/')[1]: float(v) for k, v in metrics.items() if k.startswith('gradnorm/')}
    assert norms.keys() == losses
    assert all(np.isfinite(v) for v in norms.values())
    # The divergences start below the free nats, where they have no gradient.
    assert {k for k, v in norms.items() if v == 0} <= {'dyn', 'rep'}
    for key, value in params.items():
        np.testing.assert_array_equal(after[key], value, key)
