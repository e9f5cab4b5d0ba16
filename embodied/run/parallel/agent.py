"""The agent role: an actor that answers environments, and a learner, in two threads."""

import contextlib
import threading
import time

from ...core import clock, episodes, limiters
from ...core.system import processes, rpc, signals
from ..train import Run
from . import role
from .actor import Actor
from .logger import RemoteLogger, RemoteProgress
from .replay import RemoteReplay, RemoteStream

LEAD = 4  # Updates that acting and learning may be ahead of each other.
FAREWELL_SECONDS = 3  # For environments to ask for an action and be told that it is over.


def parallel_agent(make_agent, args, stop=None) -> None:
    """Act for environments and learn from replay until the steps or the time are over.

    Raises ProcessError, after saving, if replay or logger cannot be reached any more.
    """
    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(signals.Stop()) if stop is None else stop
        run = AgentRun(make_agent, args, stack)
        run.resume()
        try:
            run.loop(stop)
            run.finish()
            if args.final_eval_eps and not stop:
                run.evaluate(stop)
        except rpc.Unreachable as e:
            folder = run.rescue()
            raise processes.ProcessError(f'{e}. Saved {folder}') from None


class AgentRun(Run):
    """A training run whose replay, logs and environments are in other processes."""

    def __init__(self, make_agent, args, stack):
        self.error = None
        self.ending = False
        self.training = True
        self.ready = False
        self.lock = threading.Lock()  # Held while the actor acts and while all is saved.
        self.results, self.shares = [], {}
        # First of all, as environments and the watch call while the agent is being made.
        self.actor = Actor(role.listen(args, 'actor'), args, self.on_steps, self.allowed)
        self.thread = threading.Thread(target=self._act, name='actor', daemon=True)
        self.thread.start()
        stack.callback(self._end)
        self.clients = [role.connect(args, 'replay') for _ in range(3)]
        stack.callback(self._dismiss)
        learning, adding, saving = self.clients
        replay, eval_replay = (RemoteReplay(learning, x, saving) for x in ('train', 'eval'))
        self.adding = {x: RemoteReplay(adding, x) for x in ('train', 'eval')}
        make_logger = lambda: RemoteLogger(role.connect(args, 'logger'))
        super().__init__(make_agent, lambda: replay, None, RemoteStream, make_logger, args, stack)
        rate = args.train_ratio / self.learner.batch_steps
        self.limiter = limiters.SamplesPerInsert(rate, LEAD / rate if rate else 0, minsize=1)
        self.checkpoint.parts.update(eval_replay=eval_replay, limiter=self.limiter)

    def more_parts(self):
        return {}  # Environments begin new episodes.

    def connect(self):
        self.eval_episodes = episodes.Episodes(self._on_eval_episode, frames=0)
        self.should_eval = clock.LocalClock(self.args.eval_every)

    def make_progress(self):
        return RemoteProgress(self.logger)

    def set_logs_aside(self):
        return self.logger.call('set_aside')

    def truncate_logs(self, step):
        self.logger.call('truncate', step)

    def begin(self):
        self.actor.start(self.agent)

    def advance(self):
        """An update if one is due, else a moment for the actor."""
        self._check()
        # Asked until it is true once, as that takes a call.
        self.ready = self.ready or self.learner.ready
        if self.args.train_ratio and self.ready and self.limiter.want_sample():
            for _ in range(self.learner.train()):
                self.limiter.sample()
        else:
            time.sleep(0.002)
        if self.shares and not any(self.shares.values()):
            self.take_evaluation(self.results)
            self.shares = {}
        elif not self.shares and self.should_eval():
            self._begin_evaluation(self.args.eval_eps)

    def on_steps(self, trans, envids, mode):
        """Transitions of environments, in the thread of the actor."""
        kept = [{k: v for k, v in x.items() if not k.startswith('log/')} for x in trans]
        self.adding[mode].add(kept, envids)
        for tran, envid in zip(trans, envids, strict=True):
            if mode == 'eval':
                self.eval_episodes(tran, envid)
                continue
            self.step.increment()
            if self.ready:
                self.limiter.insert()
            self.fps['policy'].step()
            self.episodes(tran, envid)

    def allowed(self, mode, envid, obs):
        """Whether the actor may act: training waits for the learner, evaluation for its time."""
        if mode == 'eval':
            return not obs['is_first'] or self.shares.get(envid, 0) > 0
        if not self.training or self.step >= self.args.steps:
            return False
        return not self.ready or self.limiter.want_insert()

    def log(self):
        with self.lock:
            super().log()

    def begin_save(self):
        with self.lock:
            for replay in self.adding.values():
                replay.drain()
            super().begin_save()

    def evaluate(self, stop):
        """Evaluation episodes of the trained agent in the environments for that."""
        self.training = False
        self.agent.sync()
        self._begin_evaluation(self.args.final_eval_eps)
        while any(self.shares.values()) and not stop:
            self._check()
            time.sleep(0.02)
        if self.results:
            self.take_evaluation(self.results)

    def rescue(self):
        """Save what is here when another role is gone; returns the folder."""
        with contextlib.suppress(rpc.Unreachable):
            self.learner.flush()
        with contextlib.suppress(rpc.Unreachable):  # Which the save in progress may have needed.
            self.saver.settle()
        with self.lock:
            return self.checkpoint.save(int(self.step))

    def _dismiss(self):
        """Tell replay that it may end; the logger is told when it is closed."""
        with contextlib.suppress(rpc.Unreachable, TimeoutError):
            self.clients[0].call('close', timeout=role.PATIENCE)
        for client in self.clients:
            client.close()

    def _begin_evaluation(self, amount):
        envs = self.args.eval_envs
        self.results = []
        self.shares = {i: amount // envs + (i < amount % envs) for i in range(envs)}

    def _on_eval_episode(self, result, envid):
        if self.shares.get(envid):
            self.results.append({**result, 'worker': envid})
            self.shares[envid] -= 1
            self.tell_episode(self.results)

    def _check(self):
        if self.error:
            raise self.error

    def _act(self):
        """Life of the thread of the actor."""
        try:
            while not self.ending:
                self.actor.receive()
                with self.lock:
                    self.actor.act()
        except Exception as e:
            self.error = e
        deadline = time.monotonic() + FAREWELL_SECONDS
        self.actor.end()
        while not self.actor.deserted and time.monotonic() < deadline:
            self.actor.receive()
        self.actor.server.close()

    def _end(self):
        self.ending = True
        self.thread.join(timeout=10)
