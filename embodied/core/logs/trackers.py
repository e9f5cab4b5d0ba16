"""Metrics for services that keep the runs of a group: Weights & Biases, MLflow.

A run that is resumed goes on as the same one there, since its id is kept in the logdir. Where the
service is, and who one is there, say the environment variables of its own package.
"""

import os
import pathlib
import re
import tempfile
import time
import uuid

import numpy as np

from . import scopes
from .kept import Kept

PAUSE = 15  # Seconds until the first retry; a service that is away is slow to tell.


class WandB(Kept):
    """Weights & Biases: WANDB_API_KEY, WANDB_PROJECT, WANDB_ENTITY, WANDB_MODE=offline, ...

    options   of the run by key, shown beside its metrics
    fps       frames per second of the videos, which are mp4
    """

    def __init__(self, logdir: str | pathlib.Path, options: dict, fps: int = 15):
        super().__init__(PAUSE)
        self.logdir = pathlib.Path(logdir).absolute()
        self.options = options
        self.fps = fps
        self.run = None

    def open(self):
        if self.run:
            return
        import wandb

        if wandb.setup().settings.mode == 'online' and not wandb.login(prompt=False):
            # Else it would ask on the terminal, and training would wait for the answer.
            raise RuntimeError('not logged in: `wandb login`, or WANDB_MODE=offline')
        self.run = wandb.init(
            dir=self.logdir,
            id=kept_id(self.logdir / 'wandb' / 'run-id', lambda: uuid.uuid4().hex[:12]),
            resume='allow',
            name=self.logdir.name,
            config=dict(self.options),
            settings=wandb.Settings(console='off', silent=True),
        )
        # Steps that come again after a resume are shown too, which is not so with its own step.
        self.run.define_metric('step', hidden=True)
        self.run.define_metric('*', step_metric='step')

    def write(self, step, values):
        self.run.log({'step': step, **{k: self._convert(v) for k, v in values.items()}})

    def end(self):
        run, self.run = self.run, None
        if run:
            run.finish()

    def abort(self):
        import wandb

        self.run = None
        # The process that sends everything may be gone; this way the next attempt gets a new one.
        wandb.teardown(exit_code=1)

    def _convert(self, value):
        import wandb

        if isinstance(value, str):
            return value
        if np.ndim(value) == 0:
            return float(value)
        if np.ndim(value) == 1:
            return wandb.Histogram(np.nan_to_num(value))
        value = scopes.prepare(value)
        if value.ndim == 3:
            return wandb.Image(value.squeeze(-1) if value.shape[-1] == 1 else value)
        # It takes over the file, so that one must stay until it is sent.
        folder = tempfile.mkdtemp(dir=self.run.dir)
        path = pathlib.Path(folder) / 'video.mp4'
        scopes.write_video(path, value, self.fps)
        return wandb.Video(str(path), format='mp4')


class MLflow(Kept):
    """MLflow: MLFLOW_TRACKING_URI (without it LOGDIR/mlflow), MLFLOW_EXPERIMENT_NAME, ...

    options   of the run by key, as its parameters
    fps       frames per second of the videos, which are mp4
    """

    def __init__(self, logdir: str | pathlib.Path, options: dict, fps: int = 15):
        super().__init__(PAUSE)
        self.logdir = pathlib.Path(logdir).absolute()
        self.options = options
        self.fps = fps
        self.client = None
        self.id = None

    def open(self):
        if self.client:
            return
        uri = os.environ.get('MLFLOW_TRACKING_URI')
        if not uri:
            uri = (self.logdir / 'mlflow' / 'runs').as_uri()
            os.environ.setdefault('MLFLOW_ALLOW_FILE_STORE', 'true')
        # It is tried again later here, while training goes on.
        os.environ.setdefault('MLFLOW_HTTP_REQUEST_MAX_RETRIES', '1')
        os.environ.setdefault('MLFLOW_HTTP_REQUEST_TIMEOUT', '20')
        import mlflow

        client = mlflow.MlflowClient(tracking_uri=uri)
        self.id = kept_id(self.logdir / 'mlflow' / 'run-id', lambda: self._create(client))
        client.update_run(self.id, status='RUNNING')
        self.client = client

    def write(self, step, values):
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        scalars = {k: v for k, v in values.items() if np.ndim(v) == 0 and not isinstance(v, str)}
        metrics = [Metric(_key(k), float(v), now, step) for k, v in scalars.items()]
        for i in range(0, len(metrics), 500):  # It takes up to 1000 at once.
            self.client.log_batch(self.id, metrics=metrics[i : i + 500])
        with tempfile.TemporaryDirectory() as folder:
            for key, value in values.items():
                if key not in scalars and (path := self._file(pathlib.Path(folder), step, value)):
                    self.client.log_artifact(self.id, str(path), _key(key))

    def end(self):
        client, self.client = self.client, None
        if client:
            client.set_terminated(self.id)

    def abort(self):
        self.client = None  # The server may not answer.

    def _create(self, client):
        name = os.environ.get('MLFLOW_EXPERIMENT_NAME', 'embodied')
        found = client.get_experiment_by_name(name)
        experiment = found.experiment_id if found else client.create_experiment(name)
        run = client.create_run(experiment, run_name=self.logdir.name).info.run_id
        for key, value in self.options.items():
            client.log_param(run, _key(key), str(value)[:6000])
        return run

    def _file(self, folder, step, value):
        """A text, image or video as a file; None for what it has no form for."""
        if isinstance(value, str):
            path = folder / f'{step:012}.txt'
            path.write_text(value)
            return path
        if np.ndim(value) == 1:
            return None
        value = scopes.prepare(value)
        path = folder / f'{step:012}.{"mp4" if value.ndim == 4 else "png"}'
        scopes.write_video(path, value, self.fps) if value.ndim == 4 else _image(path, value)
        return path


def kept_id(path: pathlib.Path, make) -> str:
    """The id in a file; where there is none, a new one that is written there."""
    if path.exists():
        return path.read_text().strip()
    value = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value + '\n')
    return value


def _key(name):
    """Name in the characters that MLflow takes."""
    return re.sub(r'[^\w\-. /]', '_', name)


def _image(path, value):
    import PIL.Image

    PIL.Image.fromarray(value.squeeze(-1) if value.shape[-1] == 1 else value).save(path)
