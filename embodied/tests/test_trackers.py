"""Weights & Biases without a network and MLflow with files, both with their real packages."""

import io
import json
import pathlib
import struct

import av
import numpy as np
import pytest

from embodied.core.logs import outputs, trackers
from embodied.tests import runs

SUMMARIES = [
    (5, 'train/loss', np.float32(0.5)),
    (5, 'train/nan', np.asarray(np.nan)),
    (5, 'train/inf', np.asarray(-np.inf)),
    (5, 'note', 'some text'),
    (5, 'vector', np.array([1.0, np.nan])),
    (5, 'image', np.full((8, 8, 1), 0.5)),
    (5, 'video', np.zeros((4, 15, 24, 3), np.uint8)),
]
OPTIONS = {'agent.lr': 0.1, 'size': (1, 2)}


def frames(data):
    with av.open(io.BytesIO(data)) as video:
        assert video.streams.video[0].codec.name == 'h264'
        return sum(1 for _ in video.decode(video=0))


@pytest.fixture
def offline(monkeypatch):
    monkeypatch.setenv('WANDB_MODE', 'offline')
    return pytest.importorskip('wandb')


@pytest.fixture
def client(monkeypatch, tmp_path):
    mlflow = pytest.importorskip('mlflow')
    monkeypatch.delenv('MLFLOW_TRACKING_URI', raising=False)
    monkeypatch.setenv('MLFLOW_ALLOW_FILE_STORE', 'true')
    return lambda: mlflow.MlflowClient((tmp_path / 'mlflow' / 'runs').as_uri())


def wandb_records(logdir):
    """Id of the run, and rows of its history, of each start."""
    from wandb.proto import wandb_internal_pb2

    result = []
    for path in sorted(logdir.glob('wandb/offline-run-*/*.wandb')):
        ident, history = None, []
        for data in entries(path.read_bytes()):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(data)
            if record.WhichOneof('record_type') == 'run':
                ident = record.run.run_id
            elif record.WhichOneof('record_type') == 'history':
                items = record.history.item
                row = {x.key or '/'.join(x.nested_key): json.loads(x.value_json) for x in items}
                history.append(row)
        result.append((ident, history))
    return result


def entries(data, block=32768):
    """Entries of a log as LevelDB has it: parts with checksum, length and whether more follow."""
    position, entry = 7, b''  # After the name and version of the format.
    while position + 7 <= len(data):
        if block - position % block < 7:
            position += block - position % block
        length, kind = struct.unpack_from('<HB', data, position + 4)
        entry += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # A whole one, or the last part.
            yield entry
            entry = b''


@pytest.mark.slow
def test_wandb_goes_on_with_the_same_run(tmp_path, offline):
    for step in (5, 6):
        output = trackers.WandB(tmp_path, OPTIONS, fps=10)
        output([(step, *x[1:]) for x in SUMMARIES])
        output.close()
        offline.teardown()  # Waits for the process that writes, as the end of a run does.
    (first, rows), (second, more) = wandb_records(tmp_path)
    assert first == second == (tmp_path / 'wandb' / 'run-id').read_text().strip()
    assert rows[0]['step'] == 5
    assert more[0]['step'] == 6
    assert rows[0]['train/loss'] == 0.5
    assert rows[0]['note'] == 'some text'
    assert 'nan' in str(rows[0]['train/nan']).lower()
    (path, _) = sorted(tmp_path.glob('wandb/offline-run-*/files/media/videos/*.mp4'))
    assert frames(path.read_bytes()) == 4
    assert len(list(tmp_path.glob('wandb/offline-run-*/files/media/images/*.png'))) == 2


def test_wandb_does_not_ask_for_a_login(tmp_path, monkeypatch):
    wandb = pytest.importorskip('wandb')
    monkeypatch.setattr(wandb, 'login', lambda prompt: prompt)
    monkeypatch.setattr(wandb, 'init', lambda **kwargs: pytest.fail('was started'))
    settings = type('Setup', (), {'settings': type('Settings', (), {'mode': 'online'})})
    monkeypatch.setattr(wandb, 'setup', lambda: settings)
    stream = io.StringIO()
    safe = outputs.Safe(trackers.WandB(tmp_path, OPTIONS), stream)
    safe(SUMMARIES)
    safe(SUMMARIES)
    safe.wait()
    first, last = stream.getvalue().splitlines()
    reason = 'RuntimeError: not logged in: `wandb login`, or WANDB_MODE=offline'
    assert first == f'Output WandB failed, will try again: {reason}'
    assert last == f'Output WandB failed, at the end of the run: {reason}'


def test_mlflow_goes_on_with_the_same_run(tmp_path, client):
    for step in (5, 6):
        output = trackers.MLflow(tmp_path, OPTIONS, fps=10)
        output([(step, *x[1:]) for x in SUMMARIES])
        output.close()
    experiment = client().get_experiment_by_name('embodied')
    (run,) = client().search_runs([experiment.experiment_id])
    ident = run.info.run_id
    assert ident == (tmp_path / 'mlflow' / 'run-id').read_text().strip()
    assert run.info.status == 'FINISHED'
    assert run.info.run_name == tmp_path.name
    assert run.data.params == {'agent.lr': '0.1', 'size': '(1, 2)'}
    history = lambda key: [(x.step, x.value) for x in client().get_metric_history(ident, key)]
    assert history('train/loss') == [(5, 0.5), (6, 0.5)]
    assert np.isnan(history('train/nan')[0][1])
    assert history('train/inf')[0][1] == -np.inf
    root = pathlib.Path(run.info.artifact_uri.removeprefix('file://'))
    assert frames((root / 'video' / '000000000005.mp4').read_bytes()) == 4
    assert (root / 'note' / '000000000006.txt').read_text() == 'some text'
    assert (root / 'image' / '000000000006.png').stat().st_size
    assert not (root / 'vector').exists()


def test_mlflow_tries_again(tmp_path, client, monkeypatch):
    now = [0.0]
    output = trackers.MLflow(tmp_path, OPTIONS)
    output.clock = lambda: now[0]
    monkeypatch.setenv('MLFLOW_TRACKING_URI', 'unknown://nowhere')
    stream = io.StringIO()
    safe = outputs.Safe(output, stream)
    safe([(1, 'loss', np.asarray(1.0))])
    monkeypatch.delenv('MLFLOW_TRACKING_URI')
    safe([(2, 'loss', np.asarray(2.0))])  # Too early.
    assert not (tmp_path / 'mlflow').exists()
    now[0] += 60
    safe([(3, 'loss', np.asarray(3.0))])
    safe.wait()
    ident = (tmp_path / 'mlflow' / 'run-id').read_text().strip()
    assert [x.step for x in client().get_metric_history(ident, 'loss')] == [1, 2, 3]
    (line,) = stream.getvalue().splitlines()
    assert line.startswith('Output MLflow failed, will try again: ')


@pytest.mark.slow
def test_run_with_all_outputs(tmp_path, offline, client):
    names = ('jsonl', 'scope', 'tensorboard', 'wandb', 'mlflow')
    flags = ('--logger.outputs', *names, '--run.log_every', '1')
    for steps in ('200', '400'):
        text = runs.random_run(tmp_path, *flags, '--run.steps', steps)
        assert 'failed' not in text
    rows = (tmp_path / 'metrics.jsonl').read_text().splitlines()
    last = json.loads(rows[-1])
    starts = wandb_records(tmp_path)
    assert len({ident for ident, _ in starts}) == 1
    key = 'fps/policy'
    assert starts[1][1][-1]['step'] == last['step']
    assert starts[1][1][-1][key] == pytest.approx(last[key])
    ident = (tmp_path / 'mlflow' / 'run-id').read_text().strip()
    history = client().get_metric_history(ident, key)
    assert (history[-1].step, history[-1].value) == (last['step'], pytest.approx(last[key]))
    assert client().get_run(ident).data.params['task'] == 'dummy_disc'
