"""The single-process loop: act, store, learn, log, save, until the steps or the time are over."""

import contextlib
import pathlib
import time

import elements

from ..core import checkpoint, clock, driver, episodes
from ..core.logs import outputs, progress
from ..core.system import processes, signals
from ..core.workers import supervisor, worker
from . import diagnosis, evaluate, learner, pretrained, saving


def train(make_agent, make_replay, make_env, make_stream, make_logger, args):
    """Train an agent while it acts.

    A logdir with a checkpoint goes on from there. SIGINT and SIGTERM save and end, as does the
    normal end; `final_eval_eps` evaluation episodes follow that. An environment that fails too
    often ends the run with an EnvError, after saving.
    """
    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(signals.Stop())
        run = Run(make_agent, make_replay, make_env, make_stream, make_logger, args, stack)
        run.resume()
        with run.rescued(stop):
            run.loop(stop)
        run.finish()
        if args.final_eval_eps and not stop:
            run.evaluate(stop)


class Run:
    """The parts of a training run and how they are connected. What is to be closed is on `stack`.

    That way it is closed as well if a later part cannot be made.
    """

    def __init__(self, make_agent, make_replay, make_env, make_stream, make_logger, args, stack):
        self.args = args
        self.logdir = pathlib.Path(args.logdir)
        self.logger = make_logger()
        stack.callback(self.logger.close)
        self.step = self.logger.step
        self.agent = make_agent()
        stack.callback(self.agent.close)
        self.replay = make_replay()
        # Before anything keeps a method of them.
        self.timer = elements.timer.Timer(args.timer)
        self.timer.wrap('agent', self.agent, ['policy', 'train', 'report'])
        self.timer.wrap('replay', self.replay, ['add', 'sample', 'update'])
        self.learner = learner.Learner(self.agent, self.replay, make_stream, args)
        self.timer.wrap('learner', self.learner, ['batch'])
        self.make_env = make_env
        self.stack = stack
        self.progress = self.make_progress()
        stack.callback(self.progress.close)
        self.tolerance = supervisor.Tolerance.of(args, self.progress.log)
        self.connect()
        self.episodes = episodes.Episodes(self.on_episode)
        self.checkpoint = checkpoint.Checkpoint(
            self.logdir / 'ckpt',
            args.ckpt_keep,
            args.ckpt_keep_every,
            replay=self.replay,
            agent=self.agent,
            learner=self.learner,
            step=self.step,
            **self.more_parts(),
        )
        self.usage = elements.Usage(**{k: bool(v) for k, v in args.usage.items()})
        self.fps = {'policy': elements.FPS(), 'train': elements.FPS()}
        self.diagnosis = diagnosis.Diagnosis(self.agent, self.replay, self.learner)
        self.seen_updates = 0
        self.logged = 0
        self.saver = saving.Saver(
            self.checkpoint, self.begin_save, args.save_every, self.progress.log
        )
        stack.push(self.saver.close)

    def more_parts(self):
        """Parts of the checkpoint besides those of every run."""
        return {'acting': Acting(self.driver, self.episodes)}

    def make_progress(self):
        args = self.args
        return progress.Progress(args.steps, args.duration, max(0, args.log_every))

    def connect(self):
        """Let the transitions of environments come in."""
        envs = driver.makers(self.make_env, range(self.args.envs))
        self.driver = driver.Driver(envs, self.args.parallel_envs, self.tolerance)
        self.stack.callback(self.driver.close)
        self.driver.on_step(self.on_step)

    def resume(self):
        """Go on from the newest checkpoint of the logdir, if there is one.

        Else the agent may begin with the parameters of another run.
        """
        if not self.checkpoint.exists():
            # A run that was killed before its first save leaves logs that would mix with the new.
            if folder := self.set_logs_aside():
                self.progress.log(f'No checkpoint to resume, earlier logs are now in {folder}')
            if self.args.from_checkpoint:
                pretrained.load(self.agent, self.args)
            return
        if not self.checkpoint.load():
            raise ValueError(
                f'logdir: no checkpoint in {self.checkpoint.directory} can be read. Remove that '
                'folder to begin anew, or give another logdir'
            )
        self.truncate_logs(int(self.step) * self.logger.multiplier)
        self.seen_updates = self.learner.updates
        self.logged = self.saver.saved = int(self.step)

    def loop(self, stop):
        args = self.args
        should_log = clock.LocalClock(args.log_every)
        should_report = clock.LocalClock(args.report_every)
        self.over = self.tolerance.stop = Over(stop, args.duration)
        self.begin()
        while self.step < args.steps and not self.over:
            self.advance()
            self.progress.update(int(self.step), updates=self.learner.updates)
            if should_report():
                self.report()
            if should_log():
                self.log()
            self.saver(int(self.step))

    @contextlib.contextmanager
    def rescued(self, stop):
        """What has been done is saved where an environment fails for good, then that is raised.

        If it just did not answer any more when the run was told to stop, nothing is lost by that.
        """
        try:
            yield
        except worker.EnvError as e:
            if not (isinstance(e, supervisor.Hangs) and stop):
                # If that fails too, it has been told.
                with contextlib.suppress(processes.ProcessError):
                    if int(self.step):
                        self.saver.finish(int(self.step))
                raise

    def begin(self):
        """Before the first turn of the loop."""
        if not self.checkpoint.parts['acting'].resumed:
            self.driver.reset(self.agent.init_policy)

    def advance(self):
        """One turn of the loop: step all environments once, with the updates due."""
        policy = lambda carry, obs: self.agent.policy(carry, obs, mode='train')
        with self.timer.section('driver'):
            self.driver(policy, steps=1)

    def report(self):
        if self.learner.ready:
            self.logger.add(self.learner.report(), prefix='report')

    def set_logs_aside(self):
        return outputs.set_aside(self.logdir)

    def truncate_logs(self, step):
        outputs.truncate(self.logdir, step)

    def on_step(self, tran, worker):
        """One step of one environment."""
        self.step.increment()
        self.fps['policy'].step()
        self.replay.add({k: v for k, v in tran.items() if not k.startswith('log/')}, worker)
        self.episodes(tran, worker)
        self.learner.update(int(self.step))

    def on_episode(self, result, worker):
        self.logger.add(result, prefix='episode')
        self.progress.update(int(self.step), score=result['score'])

    def finish(self):
        """Log and save what has come since the last time."""
        self.learner.flush()
        if self.logged != int(self.step):
            self.log()
        self.saver.finish(int(self.step))

    def log(self):
        """Write everything since the last call."""
        updates = self.learner.updates
        self.fps['train'].step((updates - self.seen_updates) * self.learner.batch_steps)
        before, self.seen_updates = self.seen_updates, updates
        metrics = self.learner.result()
        self.logger.add(metrics, prefix='train')
        self.logger.add(self.episodes.result(), prefix='epstats')
        self.logger.add(self.replay.stats(), prefix='replay')
        usage = {k: v for k, v in self.usage.stats().items() if not isinstance(v, str)}
        self.logger.add(usage, prefix='usage')
        self.logger.add({k: v.result() for k, v in self.fps.items()}, prefix='fps')
        if int(self.step):
            self.logger.add({'updates_per_env_step': updates / int(self.step)}, prefix='ratio')
        timings = self.timer.stats() if self.timer.enabled and self.timer.paths else {}
        self.logger.add({k: v for k, v in timings.items() if k.endswith('/frac')}, prefix='timer')
        verdicts = self.diagnosis(metrics, timings, before)
        if verdicts:
            self.logger.add({'diagnosis': '\n'.join(verdicts)})
        self.logger.write()
        for text in verdicts:
            self.progress.log(f'! {text}')
        self.logged = int(self.step)

    def begin_save(self):
        """Take what is to be saved, which is written while the run goes on."""
        self.learner.flush()
        self.checkpoint.begin(int(self.step))

    def evaluate(self, stop):
        """Evaluation episodes of the trained agent; the results go to the log and to eval.json."""
        args = self.args
        self.driver.close()  # Environments may be large, and these have done their work.
        self.tolerance.stop = stop
        results = evaluate.evaluate(
            self.agent,
            self.eval_envs(min(args.envs, args.final_eval_eps)),
            args.final_eval_eps,
            args.parallel_envs,
            self.tell_episode,
            stop,
            self.tolerance,
        )
        if results:
            self.take_evaluation(results)
            self.logger.write()

    def eval_envs(self, amount):
        """What a driver takes to have environments for evaluation."""
        return driver.makers(self.make_env, [evaluate.EVAL_INDEX + i for i in range(amount)])

    def tell_episode(self, results):
        """A line for the newest of the results."""
        self.progress.log(f'Evaluation episode {len(results)}: {results[-1]}')

    def take_evaluation(self, results):
        """Log the results of an evaluation and write them to eval.json."""
        stats = evaluate.summary(results)
        self.logger.add(stats, prefix='eval')
        try:
            evaluate.write(self.logdir / 'eval.json', int(self.step), stats, results)
        except OSError as e:
            self.progress.log(f'Could not write the results of an evaluation: {e}')
        self.progress.log(evaluate.describe(stats))


class Acting:
    """The environments and their episodes as a part of a checkpoint.

    Where an environment cannot be saved, or there are others now, all begin new episodes.
    """

    def __init__(self, driver, episodes):
        self.driver = driver
        self.episodes = episodes
        self.resumed = False

    def save(self):
        driver = self.driver.save()
        return {'driver': driver, 'episodes': self.episodes.save() if driver else None}

    def load(self, data):
        self.resumed = self.driver.load(data['driver'])
        if self.resumed:
            self.episodes.load(data['episodes'])


class Over:
    """Whether a loop shall end: it was stopped, or its seconds have passed (0 = no limit)."""

    def __init__(self, stop, duration):
        self.stop = stop
        self.deadline = time.monotonic() + (duration or float('inf'))

    def __bool__(self):
        return bool(self.stop) or time.monotonic() >= self.deadline
