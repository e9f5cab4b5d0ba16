"""What is wrong or slow in a run, in a line each: the agent knows one half, its timer the other."""

import numpy as np

from ..core import bottleneck


class Diagnosis:
    """Verdicts for each log; none where all is well.

    diagnosis = Diagnosis(agent, replay, learner)
    for text in diagnosis(metrics, timer.stats(), before):
        print(text)
    """

    def __init__(self, agent, replay, learner):
        self.agent = agent
        self.replay = replay
        self.learner = learner
        self.bottleneck = bottleneck.Bottleneck()
        self.earlier = {}
        self.slow = {}

    def __call__(self, metrics: dict, timings: dict, before: int) -> list[str]:
        """Verdicts on averages of the updates since the last log.

        timings   statistics of the timer since then, empty without one
        before    updates until then
        """
        verdicts = []
        updates = self.learner.updates - before
        metrics = {k: float(v) for k, v in metrics.items() if np.ndim(v) == 0}
        if metrics:
            verdicts += self.agent.diagnose(metrics, self.earlier)
            self.earlier = metrics
        if timings:
            shares = self.bottleneck(timings, updates, fresh=not before)
            # Without updates there is nothing that could be made better use of. Once is no pattern:
            # the first report, say, is compiled.
            slow = bottleneck.advice(shares) if updates and metrics else {}
            verdicts += [text for part, text in slow.items() if part in self.slow]
            self.slow = slow
        return verdicts + self.starved()

    def starved(self):
        """Why there are no updates, if there is nothing to learn from yet."""
        wanted = self.learner.batch_steps
        if not self.learner.args.train_ratio or self.learner.updates or self.learner.ready:
            return []
        return [f'no update yet: replay holds {len(self.replay):,} of {wanted:,} steps of a batch']
