"""Scalars, texts, images and videos as event files of TensorBoard. Package `tensorboardX`."""

import io
import os
import pathlib
import socket
import time

import numpy as np

from . import scopes
from .kept import Kept


class TensorBoard(Kept):
    """Writes LOGDIR/tensorboard, a file for each start of a run. Videos are animated GIFs.

    A file begins with the note that what other files have from its first step on does not count,
    so that steps that come again after a resume are not shown twice.

    fps   frames per second of the videos
    """

    each = False

    def __init__(self, logdir: str | pathlib.Path, fps: int = 15):
        super().__init__()
        self.folder = pathlib.Path(logdir) / 'tensorboard'
        self.fps = fps
        self.file = None

    def open(self):
        if self.file:
            return
        # Not tensorboardX.SummaryWriter: its thread may die of a full disk, and nobody is told.
        from tensorboardX import record_writer
        from tensorboardX.proto import event_pb2

        self.folder.mkdir(parents=True, exist_ok=True)
        # Files are read in the order of their names.
        name = f'events.out.tfevents.{time.time_ns():020}.{socket.gethostname()}.{os.getpid()}'
        self.file = record_writer.RecordWriter(str(self.folder / name))
        start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        self._put(file_version='brain.Event:2')
        self._put(step=self.waiting[0][0], session_log=start)

    def write(self, step, values):
        from tensorboardX import summary

        for name, value in values.items():
            if isinstance(value, str):
                self._put(step=step, summary=summary.text(name, value))
            elif np.ndim(value) == 0:
                self._put(step=step, summary=summary.scalar(name, float(value)))
            elif np.ndim(value) > 1:
                self._put(step=step, summary=_picture(name, scopes.prepare(value), self.fps))

    def flush(self):
        self.file.flush()

    def end(self):
        # Also after a failure: a record may be torn, and what follows one is never read.
        file, self.file = self.file, None
        if file:
            file.close()

    def _put(self, **fields):
        from tensorboardX.proto import event_pb2

        event = event_pb2.Event(wall_time=time.time(), **fields)
        self.file.write(event.SerializeToString())


def _picture(name, value, fps):
    """An image (H, W, C) as PNG or a video (T, H, W, C) as GIF."""
    import PIL.Image
    from tensorboardX.proto import summary_pb2

    value = value.repeat(3, -1) if value.shape[-1] == 1 else value
    frames = [PIL.Image.fromarray(x) for x in (value if value.ndim == 4 else value[None])]
    options = {'format': 'PNG'}
    if value.ndim == 4:
        more = {'append_images': frames[1:], 'duration': round(1000 / fps), 'loop': 0}
        options = {'format': 'GIF', 'save_all': True, **more}
    data = io.BytesIO()
    frames[0].save(data, **options)
    height, width = value.shape[-3:-1]
    image = summary_pb2.Summary.Image(
        height=height, width=width, colorspace=3, encoded_image_string=data.getvalue()
    )
    return summary_pb2.Summary(value=[summary_pb2.Summary.Value(tag=name, image=image)])
