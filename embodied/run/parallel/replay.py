"""Replay in a process of its own: it takes transitions and hands out batches of its streams."""

import contextlib
import time

import elements
import numpy as np

from ...core import base, checkpoint
from ...core.system import rpc
from . import role


def parallel_replay(make_replay_train, make_replay_eval, make_stream, args) -> None:
    """Serve as the replay at `args.replay_addr` until told to close."""
    replays = {'train': make_replay_train(), 'eval': make_replay_eval()}
    sources = {'train': 'train', 'report': 'train', 'eval': 'eval'}
    streams = {k: iter(make_stream(replays[v], k)) for k, v in sources.items()}
    saves = {}

    def add(name, trans, workers):
        for i, worker in enumerate(workers):
            replays[name].add({k: v[i] for k, v in trans.items()}, worker)

    def sample(mode):
        if not len(replays[sources[mode]]):
            raise ValueError(f'replay for {mode} is empty')
        return next(streams[mode])

    def saved(name):
        """Data of the save that was cut last, in a list, once they are written."""
        return [saves[name].result()] if saves[name].done() else []

    methods = {
        'add': add,
        'sample': sample,
        'update': lambda name, data: replays[name].update(data),
        'size': lambda name: len(replays[name]),
        'stats': lambda name: replays[name].stats(),
        'cut': lambda name: saves.update({name: checkpoint.in_background(replays[name].cut())}),
        'saved': saved,
        'committed': lambda name: replays[name].committed(),
        'abandoned': lambda name: replays[name].abandoned(),
        'load': lambda name, data: replays[name].load(data),
        'save_stream': lambda mode: streams[mode].save(),
        'load_stream': lambda mode, data: streams[mode].load(data),
    }
    role.serve(args, 'replay', methods)


class RemoteReplay:
    """One of the replays of the role, in the place of a Replay. For one thread.

    A save that it has cut is waited for in another thread, which calls by `saving`.
    """

    def __init__(self, client, name='train', saving=None):
        self.client = client
        self.name = name
        self.saving = saving
        self.calls = role.Pipeline(client)
        self.saved = None

    def __len__(self):
        return self.client.call('size', self.name)

    def add(self, trans: list[dict], workers: list[int]) -> None:
        """Add one transition for each of several workers."""
        batch = {k: np.stack([x[k] for x in trans]) for k in trans[0]}
        self.calls.send('add', self.name, batch, workers)

    def update(self, data):
        self.calls.send('update', self.name, data)

    def sample(self, mode):
        """Start to make a batch; the promise of it."""
        return self.client.send('sample', mode)

    def drain(self):
        """Wait until everything sent is there."""
        self.calls.drain()

    def stats(self):
        return self.client.call('stats', self.name)

    def cut(self):
        """See Replay. If the role is gone, the state that was saved last: its files are there."""
        try:
            self.drain()
            self.client.call('cut', self.name)
        except rpc.Unreachable as e:
            elements.print(f'{e}: its last save is kept', color='yellow')
            return lambda: self.saved
        return self._written

    def committed(self):
        with contextlib.suppress(rpc.Unreachable):  # Told by `cut` already.
            self.saving.call('committed', self.name)

    def abandoned(self):
        with contextlib.suppress(rpc.Unreachable):
            self.saving.call('abandoned', self.name)

    def load(self, data=None):
        self.saved = data
        self.client.call('load', self.name, data)

    def _written(self):
        """The data of a save, once the role has written it."""
        try:
            while not (data := self.saving.call('saved', self.name)):
                time.sleep(0.05)
            (self.saved,) = data
        except rpc.Unreachable as e:
            elements.print(f'{e}: its last save is kept', color='yellow')
        return self.saved


class RemoteStream(base.Stream):
    """Batches of a stream of the role; the next one is made while the last one is used."""

    live = True

    def __init__(self, replay, mode):
        self.replay = replay
        self.mode = mode
        self.promise = None

    def __next__(self):
        promise = self.promise or self.replay.sample(self.mode)
        batch = promise()
        self.promise = self.replay.sample(self.mode)
        return batch

    def save(self):
        try:
            return self.replay.client.call('save_stream', self.mode)
        except rpc.Unreachable:
            return None

    def load(self, data):
        self.promise = None
        if data is not None:
            self.replay.client.call('load_stream', self.mode, data)
