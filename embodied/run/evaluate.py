"""Evaluation: whole episodes with the policy in mode `eval`."""

import json

import numpy as np

from ..core import driver, episodes

# Environments for evaluation get indices from here on, and so other seeds than those for training.
EVAL_INDEX = 1_000_000


class Evaluator:
    """Environments that are kept for several evaluations of an agent.

        evaluator = Evaluator(agent, envs)
        evaluator.on_step(replay.add)
        results = evaluator(amount=10, stop=stop)
        logger.add(evaluator.stats(), prefix='eval_epstats')
        evaluator.close()

    Every environment contributes a fixed share. Counting the first episodes that end would prefer
    short ones. Callbacks get the transitions of episodes that count, and of no others. `envs` is
    what a driver takes.
    """

    def __init__(self, agent, envs, parallel=True, frames=500, tolerance=None):
        self.agent = agent
        self.frames = frames
        self.callbacks = []
        self.shares = []
        self.driver = driver.Driver(envs, parallel, tolerance)
        self.driver.on_step(self._take)
        self.episodes = None

    def on_step(self, callback):
        """Call `callback(transition, index)` for each transition, before the episode's result."""
        self.callbacks.append(callback)

    def __call__(self, amount, on_episode=None, stop=()):
        """Scores and lengths of `amount` new episodes, as a list of {score, length}.

        Calls `on_episode(results)` after each. Ends early, with fewer, when `stop` becomes true.
        """
        envs = self.driver.length
        self.shares = [amount // envs + (i < amount % envs) for i in range(envs)]
        results = []

        def finish(result, worker):
            self.shares[worker] -= 1
            results.append(result)
            if on_episode:
                on_episode(results)

        self.episodes = episodes.Episodes(finish, self.frames)
        self.driver.reset(self.agent.init_policy)
        while any(self.shares) and not stop:
            self.driver(self._policy, steps=1)
        return results

    def stats(self):
        """Statistics of the last evaluation's episodes, and the video of one, for the log."""
        return self.episodes.result()

    def close(self):
        self.driver.close()

    def _policy(self, carry, obs):
        return self.agent.policy(carry, obs, mode='eval')

    def _take(self, tran, worker):
        if self.shares[worker]:
            for callback in self.callbacks:
                callback(tran, worker)
            self.episodes(tran, worker)


def evaluate(agent, envs, amount, parallel=True, on_episode=None, stop=(), tolerance=None):
    """One evaluation with what the agent has learned so far, in environments made for it."""
    agent.sync()
    envs = envs if callable(envs) else envs[:amount]
    evaluator = Evaluator(agent, envs, parallel, 0, tolerance)
    try:
        return evaluator(amount, on_episode, stop)
    finally:
        evaluator.close()


def summary(results):
    """Numbers that describe the scores and lengths of episodes."""
    scores, lengths = (np.array([x[k] for x in results]) for k in ('score', 'length'))
    stats = {'episodes': len(results)}
    for key, values in (('score', scores), ('length', lengths)):
        stats[f'{key}_mean'] = float(values.mean())
        stats[f'{key}_std'] = float(values.std())
        stats[f'{key}_min'] = float(values.min())
        stats[f'{key}_max'] = float(values.max())
    if 'success' in results[0]:
        stats['success_rate'] = float(np.mean([x['success'] for x in results]))
    return stats


def describe(stats):
    """One line for people."""
    text = (
        f'{stats["episodes"]} evaluation episodes: score {stats["score_mean"]:.4g} '
        f'+- {stats["score_std"]:.3g} ({stats["score_min"]:.4g} to {stats["score_max"]:.4g}), '
        f'mean length {stats["length_mean"]:.4g}'
    )
    return text + (f', success {stats["success_rate"]:.0%}' if 'success_rate' in stats else '')


def write(filename, step, stats, results):
    """Summary and single episodes as JSON."""
    content = {'step': step, **stats, 'results': results}
    filename.parent.mkdir(parents=True, exist_ok=True)
    filename.write_text(json.dumps(content, indent=2) + '\n')
