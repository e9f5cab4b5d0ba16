"""TensorBoard's event files, read back by TensorBoard."""

import io

import numpy as np
import PIL.Image
import pytest

from embodied.core.logs import tensorboard

pytest.importorskip('tensorboardX')
accumulator = pytest.importorskip('tensorboard.backend.event_processing.event_accumulator')


def read(logdir):
    result = accumulator.EventAccumulator(str(logdir / 'tensorboard'), {'tensors': 0, 'images': 0})
    result.Reload()
    return result


def scalars(logdir, name='train/loss'):
    return [(x.step, x.value) for x in read(logdir).Scalars(name)]


def test_everything_is_read_back(tmp_path):
    output = tensorboard.TensorBoard(tmp_path, fps=10)
    video = np.zeros((4, 16, 24, 3), np.uint8)
    video[..., 0] = np.arange(4)[:, None, None] * 60
    output(
        [
            (7, 'train/loss', np.float32(0.5)),
            (7, 'train/nan', np.asarray(np.nan)),
            (7, 'train/inf', np.asarray(np.inf)),
            (7, 'note', 'some text'),
            (7, 'image', np.full((8, 8, 1), 0.5)),
            (7, 'video', video),
            (7, 'vector', np.zeros(3)),
            (8, 'train/loss', np.float32(0.25)),
        ]
    )
    found = read(tmp_path)
    assert scalars(tmp_path) == [(7, 0.5), (8, 0.25)]
    assert np.isnan(found.Scalars('train/nan')[0].value)
    assert found.Scalars('train/inf')[0].value == np.inf
    (text,) = found.Tensors('note/text_summary')
    assert text.tensor_proto.string_val == [b'some text']
    (image,) = found.Images('image')
    with PIL.Image.open(io.BytesIO(image.encoded_image_string)) as picture:
        assert (picture.format, picture.size, picture.getpixel((3, 3))) == (
            'PNG',
            (8, 8),
            (128,) * 3,
        )
    (moving,) = found.Images('video')
    assert (moving.width, moving.height) == (24, 16)
    with PIL.Image.open(io.BytesIO(moving.encoded_image_string)) as picture:
        assert (picture.format, picture.n_frames, picture.info['duration']) == ('GIF', 4, 100)
        picture.seek(3)
        assert abs(picture.convert('RGB').getpixel((0, 0))[0] - 180) < 8
    assert 'vector' not in str(found.Tags())
    output.close()


def test_steps_after_a_resume_are_shown_once(tmp_path):
    first = tensorboard.TensorBoard(tmp_path)
    for step in (10, 20, 30, 40):
        first([(step, 'train/loss', np.asarray(step))])
    first.close()
    second = tensorboard.TensorBoard(tmp_path)
    second([(30, 'train/loss', np.asarray(31))])
    second([(40, 'train/loss', np.asarray(41))])
    assert scalars(tmp_path) == [(10, 10), (20, 20), (30, 31), (40, 41)]
    second.close()


def test_failures_lose_nothing(tmp_path, monkeypatch):
    output = tensorboard.TensorBoard(tmp_path)
    output([(1, 'train/loss', np.asarray(1))])
    flush = output.file.flush

    def fail():
        flush()  # Some of it may have arrived.
        raise OSError('disk full')

    output.file.flush = fail
    with pytest.raises(OSError, match='disk full'):
        output([(2, 'train/loss', np.asarray(2))])
    output([(3, 'train/loss', np.asarray(3))])
    assert scalars(tmp_path) == [(1, 1), (2, 2), (3, 3)]
    output.close()


def test_folder_that_cannot_be_made(tmp_path):
    (tmp_path / 'tensorboard').write_text('a file')
    output = tensorboard.TensorBoard(tmp_path)
    with pytest.raises(OSError):
        output([(1, 'train/loss', np.asarray(1))])
    (tmp_path / 'tensorboard').unlink()
    output.close()
    assert scalars(tmp_path) == [(1, 1)]
