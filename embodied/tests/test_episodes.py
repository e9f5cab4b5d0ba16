import numpy as np
import pytest

from embodied.core import driver, episodes
from embodied.tests import fakes


def step(reward=0.0, first=False, last=False, **extra):
    flags = {'is_first': np.bool_(first), 'is_last': np.bool_(last)}
    return {'reward': np.float32(reward), **flags, **extra}


def feed(tracker, rewards, worker=0, last=True, **extra):
    for i, reward in enumerate(rewards):
        final = last and i == len(rewards) - 1
        values = {k: np.asarray(v[i]) for k, v in extra.items()}
        tracker(step(reward, i == 0, final, **values), worker)


def test_score_and_length_of_interleaved_workers():
    ends = []
    tracker = episodes.Episodes(lambda result, worker: ends.append((worker, result)))
    tracker(step(0, first=True), 0)
    tracker(step(0, first=True), 1)
    tracker(step(1.5), 0)
    tracker(step(-4, last=True), 1)
    tracker(step(2, last=True), 0)
    assert ends == [(1, {'score': -4.0, 'length': 2}), (0, {'score': 3.5, 'length': 3})]


def test_success_is_whether_there_was_any():
    ends = []
    tracker = episodes.Episodes(lambda result, worker: ends.append(result))
    feed(tracker, [0, 0, 0], **{'log/success': [0, 1, 0]})
    feed(tracker, [0, 0], **{'log/success': [False, False]})
    assert [x['success'] for x in ends] == [1.0, 0.0]


def test_a_driver_feeds_it():
    ends = []
    tracker = episodes.Episodes(lambda result, worker: ends.append((worker, result)))
    drv = driver.Driver([fakes.Count, fakes.Count], parallel=False)
    drv.on_step(tracker)
    policy = fakes.CountPolicy()
    drv.reset(policy.init)
    drv(policy, episodes=4)
    result = {'score': 0.0 + 1 + 2 + 3 + 4 + 5, 'length': 6}
    assert ends == [(0, result), (1, result)] * 2
    stats = tracker.result()
    assert stats['log/half/max'] == 2.5
    assert stats['policy_image'].shape == (6, 4, 6, 3)


def test_logs_are_averaged_over_the_episodes_since_the_last_read():
    tracker = episodes.Episodes()
    feed(tracker, [0, 0], **{'log/x': [1.0, 3.0]})
    feed(tracker, [0, 0, 0], worker=3, **{'log/x': [-1.0, -2.0, -6.0]})
    stats = tracker.result()
    assert stats['log/x/avg'] == pytest.approx((2 - 3) / 2)
    assert stats['log/x/max'] == pytest.approx((3 - 1) / 2)
    assert stats['log/x/sum'] == pytest.approx((4 - 9) / 2)
    assert stats['log/x/any'] == 0.5
    assert tracker.result() == {}
    feed(tracker, [0, 0], **{'log/x': [5, 5], 'log/vector': [np.ones(2)] * 2})
    assert tracker.result() == {
        'log/x/avg': 5,
        'log/x/max': 5,
        'log/x/sum': 10,
        'log/x/any': 1,
        'reward_rate': 0,
    }


def test_running_episodes_are_not_in_the_result():
    tracker = episodes.Episodes()
    feed(tracker, [0, 0], last=False, **{'log/x': [1.0, 3.0]})
    assert tracker.result() == {}
    tracker(step(last=True, **{'log/x': np.float32(5)}))
    assert tracker.result()['log/x/avg'] == 3


def test_reward_rate_is_the_share_of_changes():
    tracker = episodes.Episodes()
    feed(tracker, [0, 0, 1, 1.001, 0])
    assert tracker.result() == {'reward_rate': 2 / 4}


def test_videos_are_of_the_last_episode_of_worker_0_and_bounded():
    def frames(*values):
        return {'cam': [np.full((2, 3, 1), x, np.uint8) for x in values]}

    tracker = episodes.Episodes(frames=3)
    feed(tracker, [0] * 2, **frames(1, 2))
    feed(tracker, [0] * 5, **frames(3, 4, 5, 6, 7))
    feed(tracker, [0] * 2, worker=1, **frames(8, 9))
    video = tracker.result()['policy_cam']
    assert video.shape == (3, 2, 3, 1) and video.dtype == np.uint8
    assert video[:, 0, 0, 0].tolist() == [5, 6, 7]
    assert 'policy_cam' not in tracker.result()
    feed(tracker, [0], **{'log/cam': [np.zeros((2, 2, 3), np.uint8)]})
    assert tracker.result()['policy_log_cam'].shape == (1, 2, 2, 3)


def test_videos_do_not_keep_the_batch_alive():
    tracker = episodes.Episodes()
    batch = np.zeros((16, 8, 8, 3), np.uint8)
    tracker(step(first=True, last=True, image=batch[0]))
    batch[:] = 1
    assert (tracker.result()['policy_image'] == 0).all()


def test_abandoned_episodes_are_dropped_and_counted():
    ends = []
    tracker = episodes.Episodes(lambda result, worker: ends.append(result))
    feed(tracker, [100, 100], last=False, **{'log/x': [9, 9]})
    feed(tracker, [1, 2], **{'log/x': [1, 1]})
    assert ends == [{'score': 3.0, 'length': 2}]
    stats = tracker.result()
    assert stats['abandoned'] == 1
    assert stats['log/x/max'] == 1
    assert 'abandoned' not in tracker.result()


def test_episode_whose_start_is_unknown_is_left_out():
    ends = []
    tracker = episodes.Episodes(lambda result, worker: ends.append(result))
    tracker(step(5))
    tracker(step(5, last=True))
    feed(tracker, [1])
    assert ends == [{'score': 1.0, 'length': 1}]
    assert 'abandoned' not in tracker.result()
