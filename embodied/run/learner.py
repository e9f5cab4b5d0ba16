"""The learning side of every run loop: when to update, from what, and what came of it."""

import elements
import numpy as np

from ..core import ratio


class Learner:
    """Trains an agent from replay, `train_ratio` replayed steps per environment step.

    learner = Learner(agent, replay, make_stream, args)
    learner.update(step)             after every environment step
    logger.add(learner.report(), prefix='report')
    logger.add(learner.result(), prefix='train')
    """

    def __init__(self, agent, replay, make_stream, args):
        self.agent = agent
        self.replay = replay
        self.args = args
        self.stream = iter(agent.stream(make_stream(replay, 'train')))
        self.report = Report(agent, make_stream(replay, 'report'), args)
        self.carry = agent.init_train(args.batch_size)
        self.batch_steps = args.batch_size * args.batch_length
        self.layout = layout(args)
        self.due = ratio.Ratio(args.train_ratio / self.batch_steps)
        self.behind = 0  # Updates that are due, until there are enough for a call of the agent.
        self.updates = 0
        self.owed = {}  # Outputs of the last update that replay has not got yet.
        self.metrics = elements.Agg()

    @property
    def ready(self):
        """Whether replay holds enough for a batch."""
        return len(self.replay) >= self.batch_steps

    def update(self, step):
        """The updates that are due at an environment step."""
        if not self.ready:
            return
        self.behind += self.due(step)
        while self.behind >= self.args.updates_per_dispatch:
            self.behind -= self.train()

    def train(self):
        """As many updates as the agent does at once. Returns their number."""
        batches = [self.batch() for _ in range(self.args.updates_per_dispatch)]
        self.carry, out, metrics = self.agent.train(self.carry, *batches)
        self.updates += len(batches)
        owed, self.owed = self.owed, {}
        for value in (owed, out):
            if 'replay' in value:
                self.replay.update(value['replay'])
        self.metrics.add(metrics)
        return len(batches)

    def batch(self):
        """The next one, on the device."""
        return next(self.stream)

    def flush(self):
        """Fetch what the last update still owes, so that metrics are complete.

        Replay gets its part with the next update, as it would have without: a save changes nothing.
        """
        out, metrics = self.agent.flush()
        self.owed = out or self.owed
        self.metrics.add(metrics)

    def result(self):
        """Averages of the updates since the last call."""
        return self.metrics.result()

    def save(self):
        return {
            'updates': self.updates,
            'due': self.due.save(),
            'behind': self.behind,
            'layout': self.layout,
            'carry': _host(self.carry),
            'owed': self.owed,
            'stream': self.stream.save(),
            'report_stream': self.report.save(),
        }

    def load(self, data):
        self.updates = data['updates']
        self.due.load(data['due'])
        self.behind = data.get('behind', 0)
        self.owed = data.get('owed', {})
        if data.get('layout') == self.layout:
            self.carry = data.get('carry', self.carry)
            self.stream.load(data['stream'])
            self.report.load(data['report_stream'])


class Report:
    """Metrics of `report_batches` batches of a stream, averaged, with the videos of the last."""

    def __init__(self, agent, stream, args):
        self.agent = agent
        self.amount = args.report_batches
        self.stream = iter(agent.stream(stream))
        self.carry = agent.init_report(args.batch_size)

    def __call__(self):
        metrics = elements.Agg(
            [(lambda _, x: getattr(x, 'ndim', 1) == 0, 'mean'), (_always, 'last')]
        )
        for _ in range(self.amount):
            self.carry, values = self.agent.report(self.carry, next(self.stream))
            metrics.add(values)
        return metrics.result()

    def save(self):
        return {'stream': self.stream.save(), 'carry': _host(self.carry)}

    def load(self, data):
        self.carry = data['carry']
        self.stream.load(data['stream'])


def layout(args):
    """What batches look like; those of another layout, which a stream may hold, would not fit."""
    names = ('batch_size', 'batch_length', 'consec_train', 'report_length', 'consec_report')
    return [args[k] for k in (*names, 'replay_context')]


def _host(carry):
    """A carry as it can be saved."""
    return elements.tree.map(np.asarray, carry)


def _always(name, value):
    return True
