"""Scope: what is written can be read back, and torn tables are mended."""

import numpy as np
import pytest
import scope

from embodied.core.logs import scopes


def test_scalars_and_texts(tmp_path):
    output = scopes.Scope(tmp_path)
    output(((1, 'train/loss/rew', np.float32(0.5)), (1, 'note', 'hello')))
    output(((2, 'train/loss/rew', np.asarray(1)), (3, 'train/loss/rew', np.asarray(np.nan))))
    reader = scope.Reader(tmp_path)
    assert set(reader.keys()) == {'train/loss/rew', 'note'}
    steps, values = reader['train/loss/rew']
    assert steps.tolist() == [1, 2, 3]
    np.testing.assert_array_equal(values, [0.5, 1.0, np.nan])
    steps, files = reader['note']
    assert reader.load('note', files[0]) == 'hello'


@pytest.mark.parametrize(
    'shape, size',
    [((6, 32, 48, 3), (32, 48)), ((6, 31, 47, 3), (32, 48)), ((6, 32, 32, 1), (32, 32))],
)
def test_video_reads_back(tmp_path, shape, size):
    ramp = np.linspace(0, 1, shape[0])[:, None, None, None]
    video = np.broadcast_to(ramp, shape).astype(np.float32)
    scopes.Scope(tmp_path, fps=7)(((4, 'report/openloop', video),))
    reader = scope.Reader(tmp_path)
    steps, files = reader['report/openloop']
    assert steps.tolist() == [4]
    frames = reader.load('report/openloop', files[0])
    assert frames.shape == (6, *size, 3)
    # The picture without the padding, up to the error of the codec.
    got = frames[:, : shape[1] - 3, : shape[2] - 3].mean((1, 2, 3))
    np.testing.assert_allclose(got, np.linspace(0, 255, 6), atol=6)


def test_video_has_the_frame_rate(tmp_path):
    import av

    scopes.Scope(tmp_path, fps=7)(((0, 'clip', np.zeros((3, 16, 16, 3), np.uint8)),))
    (path,) = (tmp_path / 'scope' / 'clip.mp4').glob('*.mp4')
    with av.open(str(path)) as container:
        assert container.streams.video[0].average_rate == 7


def test_images(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    scopes.Scope(tmp_path)(((1, 'rgb', image), (1, 'gray', image[..., 0] / 255)))
    reader = scope.Reader(tmp_path)
    np.testing.assert_array_equal(reader.load('rgb', reader['rgb'][1][0]), image)
    gray = reader.load('gray', reader['gray'][1][0])
    np.testing.assert_array_equal(gray, np.repeat(image[..., :1], 3, -1))


def test_vectors_are_left_out_and_names_are_made_fit(tmp_path):
    output = scopes.Scope(tmp_path)
    output(((1, 'hist', np.zeros(5)), (1, 'Stats/Obs.Front-left', np.asarray(1.0))))
    assert scope.Reader(tmp_path).keys() == ('stats/obs_front_left',)


@pytest.mark.parametrize('channels, kept', [(2, 1), (4, 3), (9, 3)])
def test_odd_channels(channels, kept):
    assert scopes.prepare(np.zeros((2, 4, 4, channels), np.uint8)).shape == (2, 4, 4, kept)


def test_float_images_are_clipped():
    image = np.array([[-1.0, 0.5, 2.0, np.nan]])
    assert scopes.prepare(image)[..., 0].tolist() == [[0, 128, 255, 0]]


def test_one_bad_value_does_not_keep_others_out(tmp_path):
    output = scopes.Scope(tmp_path)
    bad = np.zeros((0, 0, 0, 3), np.uint8)
    with pytest.raises(Exception, match=r'.'):
        output(((1, 'bad', bad), (1, 'good', np.asarray(1.0))))
    assert scope.Reader(tmp_path)['good'][0].tolist() == [1]


def test_torn_row_is_cut_on_start(tmp_path):
    scopes.Scope(tmp_path)(((1, 'a', np.asarray(1.0)), (1, 'b', 'hello')))
    for table in ('a.float', 'b.txt/index'):
        path = tmp_path / 'scope' / table
        path.write_bytes(path.read_bytes() + b'xyz')
    scopes.Scope(tmp_path)(((2, 'a', np.asarray(2.0)),))
    reader = scope.Reader(tmp_path)
    assert reader['a'][0].tolist() == [1, 2]
    assert reader['b'][0].tolist() == [1]


def test_truncate(tmp_path):
    scopes.truncate(tmp_path, 3)
    output = scopes.Scope(tmp_path)
    for step in (1, 3, 5):
        output(((step, 'a', np.asarray(step)), (step, 'b', str(step))))
    scopes.truncate(tmp_path, 3)
    output(((4, 'a', np.asarray(4)),))
    reader = scope.Reader(tmp_path)
    assert reader['a'][0].tolist() == [1, 3, 4]
    assert reader['b'][0].tolist() == [1, 3]


def test_truncate_removes_columns_without_rows(tmp_path):
    output = scopes.Scope(tmp_path)
    output(((2, 'a', np.asarray(1.0)), (5, 'b', np.asarray(1.0)), (5, 'c', 'text')))
    scopes.truncate(tmp_path, 3)
    reader = scope.Reader(tmp_path)
    assert reader.keys() == ('a',)
    output(((4, 'b', np.asarray(2.0)), (4, 'c', 'text')))
    reader = scope.Reader(tmp_path)
    assert [reader[k][0].tolist() for k in ('a', 'b', 'c')] == [[2], [4], [4]]
