"""Evaluation: whole episodes with the policy in mode `eval`."""

import json

import numpy as np

from ..core import driver, episodes


def evaluate(agent, make_env_fns, amount, parallel=True, on_episode=None, stop=()):
    """Scores and lengths of `amount` episodes, as a list of {score, length}.

    Every environment contributes a fixed share. Counting the first episodes that end would prefer
    short ones. Ends early, with fewer, when `stop` becomes true.
    """
    count = min(amount, len(make_env_fns))
    shares = [amount // count + (i < amount % count) for i in range(count)]
    results = []

    def take(result, worker):
        if shares[worker]:
            shares[worker] -= 1
            results.append(result)
            if on_episode:
                on_episode(results)

    agent.sync()
    drive = driver.Driver(make_env_fns[:count], parallel)
    try:
        drive.on_step(episodes.Episodes(take, frames=0))
        drive.reset(agent.init_policy)
        policy = lambda carry, obs: agent.policy(carry, obs, mode='eval')
        while any(shares) and not stop:
            drive(policy, steps=1)
    finally:
        drive.close()
    return results


def summary(results):
    """Numbers that describe the scores and lengths of episodes."""
    scores = np.array([x['score'] for x in results])
    return {
        'episodes': len(results),
        'score_mean': float(scores.mean()),
        'score_std': float(scores.std()),
        'score_min': float(scores.min()),
        'score_max': float(scores.max()),
        'length_mean': float(np.mean([x['length'] for x in results])),
    }


def describe(stats):
    """One line for people."""
    return (
        f'{stats["episodes"]} evaluation episodes: score {stats["score_mean"]:.4g} '
        f'+- {stats["score_std"]:.3g} ({stats["score_min"]:.4g} to {stats["score_max"]:.4g}), '
        f'mean length {stats["length_mean"]:.4g}'
    )


def write(filename, step, stats, results):
    """Summary and single episodes as JSON."""
    content = {'step': step, **stats, 'results': results}
    filename.write_text(json.dumps(content, indent=2) + '\n')
