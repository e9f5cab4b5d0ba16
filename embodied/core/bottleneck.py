"""Which part of a run takes the time, by the sections of its timer, and what helps against it."""

import math

# Part to the share of the time from which on it is worth a word, and what to change. That the
# learner takes the time is as it should be.
ADVICE = {
    'environments': (
        0.5,
        'more of them side by side (run.envs), each in a process (run.parallel_envs True), or a '
        'higher run.train_ratio make better use of the learner',
    ),
    'acting': (
        0.5,
        'more environments share one call (run.envs), and script parallel learns meanwhile',
    ),
    'replay': (0.25, 'uniform replay.fracs are fastest, and a larger replay.chunksize may help'),
    'transfer': (0.25, 'smaller images or batches move less to the device'),
    'waiting for experience': (
        0.5,
        'the learner is starved: more environments (run.envs), or a higher run.train_ratio',
    ),
    'reports, evaluations, saves and logs': (
        0.4,
        'run.report_every, run.eval_every, run.save_every and run.log_every make them rarer',
    ),
}


class Bottleneck:
    """Shares of the time of a training loop.

        bottleneck = Bottleneck()
        shares = bottleneck(timer.stats(), updates=100, fresh=False)
        print(*advice(shares).values())

    On the device, acting comes after the updates that were started before, so that a call of the
    policy takes the time of these as well. What it takes itself is known from calls without one;
    until there was one, all of it counts as learning.
    """

    def __init__(self):
        self.quickest = math.inf  # Seconds of a call of the policy.

    def __call__(self, stats: dict, updates: int, fresh: bool) -> dict[str, float]:
        """Part to its share of the time.

        stats     those of an elements.Timer for an interval
        updates   so many were in the interval
        fresh     whether no update was before it, so that acting began without any
        """
        timer = Sections(stats)
        calls, policy = timer.get('agent.policy', 'count'), timer.get('agent.policy')
        if calls and (fresh or updates < calls / 2):
            self.quickest = min(self.quickest, timer.get('agent.policy', 'min', min))
        acting = min(policy, calls * self.quickest) if math.isfinite(self.quickest) else 0.0
        sampling = timer.get('learner.batch/replay.sample')
        parts = {
            'replay': sampling + timer.get('replay.update'),
            'transfer': timer.get('learner.batch') - sampling,
            'learner': timer.get('agent.train'),
        }
        if driver := timer.get('driver'):
            parts['replay'] += timer.get('replay.add')
            parts['environments'] = driver - policy - sum(parts.values())
            parts['acting'] = acting
            parts['learner'] += policy - acting
            parts['reports, evaluations, saves and logs'] = timer.total - driver
        else:
            # Acting has a thread of its own.
            parts['waiting for experience'] = timer.total - sum(parts.values())
        return {k: max(0.0, v / timer.total) for k, v in parts.items()}


class Sections:
    """Statistics of an elements.Timer by the last names of their path, outside of evaluations."""

    def __init__(self, stats: dict):
        self.stats = {k: v for k, v in stats.items() if not k.startswith('evaluation/')}
        pairs = [(v, stats[f'{k[:-3]}frac']) for k, v in stats.items() if k.endswith('/sum')]
        # The same for all, but for sections that have not been entered.
        self.total = next((seconds / share for seconds, share in pairs if share), 1.0)

    def get(self, name, statistic='sum', combine=sum):
        """Seconds in a section, or another statistic, of all places where it is."""
        end = f'/{name}/{statistic}'
        values = [v for k, v in self.stats.items() if f'/{k}'.endswith(end)]
        return combine(values) if values else 0.0


def advice(shares: dict[str, float]) -> dict[str, str]:
    """A line for each part that takes more of the time than it should."""
    return {
        part: f'{part} take{"" if part[-1] == "s" else "s"} {shares[part]:.0%} of the time: {text}'
        for part, (limit, text) in ADVICE.items()
        if shares.get(part, 0.0) > limit
    }
