"""Training as in `train`, with evaluations in between and reports on what they held out."""

import contextlib

from ..core import clock, driver
from ..core.system import signals
from . import evaluate, learner
from .train import Run


def train_eval(
    make_agent,
    make_replay_train,
    make_replay_eval,
    make_env_train,
    make_env_eval,
    make_stream,
    make_logger,
    args,
):
    """Train an agent, and let it play `eval_eps` episodes in mode `eval` each `eval_every` seconds.

    These have environments of their own, and a replay of their own from which nothing is learned.
    Saving, resuming and ending are those of `train`.
    """
    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(signals.Stop())
        makers = make_agent, make_replay_train, make_env_train, make_stream, make_logger
        run = EvalRun(makers, make_replay_eval, make_env_eval, args, stack)
        run.resume()
        with run.rescued(stop):
            run.loop(stop)
        run.finish()
        if args.final_eval_eps and not stop:
            run.evaluate(stop)


class EvalRun(Run):
    """A training run with evaluations."""

    def __init__(self, makers, make_replay_eval, make_env_eval, args, stack):
        super().__init__(*makers, args, stack)
        self.make_env_eval = make_env_eval
        envs = self.eval_envs(min(args.eval_envs, args.eval_eps))
        self.evaluator = evaluate.Evaluator(
            self.agent, envs, args.parallel_envs, tolerance=self.tolerance
        )
        stack.callback(self.evaluator.close)
        make_stream = makers[3]
        self.held_out = HeldOut(self.agent, make_replay_eval(), make_stream, args)
        self.evaluator.on_step(self.held_out.add)
        self.checkpoint.parts['eval_replay'] = self.held_out.replay
        self.checkpoint.parts['evaluation'] = self.held_out

    def advance(self):
        super().advance()
        if self.held_out.should_eval():
            with self.timer.section('evaluation'):
                self.evaluation()

    def evaluation(self):
        """Episodes in mode `eval`. If the end comes in between, there are no results."""
        results = self.evaluator(self.args.eval_eps, stop=self.over)
        if len(results) < self.args.eval_eps:
            return
        self.take_evaluation(results)
        means = {k: sum(x[k] for x in results) / len(results) for k in results[0]}
        self.logger.add(means, prefix='eval_episode')
        self.logger.add(self.evaluator.stats(), prefix='eval_epstats')

    def report(self):
        super().report()
        if self.held_out.ready:
            self.logger.add(self.held_out.report(), prefix='eval_report')

    def evaluate(self, stop):
        self.evaluator.close()
        super().evaluate(stop)

    def eval_envs(self, amount):
        return driver.makers(self.make_env_eval, range(amount))


class HeldOut:
    """The transitions of evaluations, reports on them, and when the next evaluation is due."""

    def __init__(self, agent, replay, make_stream, args):
        self.replay = replay
        self.report = learner.Report(agent, make_stream(replay, 'eval'), args)
        self.should_eval = clock.LocalClock(args.eval_every)
        self.layout = learner.layout(args)

    @property
    def ready(self):
        """Whether there is something to report on."""
        return len(self.replay) > 0

    def add(self, tran, worker):
        self.replay.add({k: v for k, v in tran.items() if not k.startswith('log/')}, worker)

    def save(self):
        return {
            'clock': self.should_eval.save(),
            'layout': self.layout,
            'stream': self.report.save(),
        }

    def load(self, data):
        self.should_eval.load(data['clock'])
        if data['layout'] == self.layout:
            self.report.load(data['stream'])
