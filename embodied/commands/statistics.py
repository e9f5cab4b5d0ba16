"""Statistics of several runs: curves on a common axis, means and IQM with bootstrap intervals.

Agarwal et al. 2021, Deep Reinforcement Learning at the Edge of the Statistical Precipice. Values
that are not there are NaN and left out.
"""

import warnings

import numpy as np

RESAMPLES = 1000
CONFIDENCE = 0.95


def binned(xs, ys, edges):
    """Mean of the values in each bin (N,); in a gap that of the bin before.

    NaN before the first value and after the last one.
    """
    index = np.digitize(xs, edges[1:-1])
    good = np.isfinite(ys) & (xs <= edges[-1])
    counts = np.bincount(index[good], minlength=len(edges) - 1)
    totals = np.bincount(index[good], ys[good], minlength=len(edges) - 1)
    means = np.full(len(counts), np.nan)
    means[counts > 0] = totals[counts > 0] / counts[counts > 0]
    filled = np.flatnonzero(counts)
    for i in range(filled[0], filled[-1]) if len(filled) else ():
        if not counts[i + 1]:
            means[i + 1] = means[i]
    return means


def iqm(values):
    """Mean of the middle half along the first axis. Values at its edges count by their share.

    (N, ...) to (...)
    """
    values = np.sort(values, 0)  # NaN goes last.
    amount = np.isfinite(values).sum(0)
    position = np.arange(len(values)).reshape(-1, *[1] * (values.ndim - 1))
    low, high = amount / 4, amount * 3 / 4
    weight = np.clip(np.minimum(position + 1, high) - np.maximum(position, low), 0, 1)
    total = (weight * np.nan_to_num(values)).sum(0)
    return np.divide(total, weight.sum(0), out=np.full(total.shape, np.nan), where=amount > 0)


def mean(values):
    return quiet(np.nanmean, values, 0)


def of_tasks(aggregate):
    """Aggregate of the means of tasks, as in the median over tasks of mean scores."""

    def function(values, tasks):
        return aggregate(np.stack([mean(values[tasks == i]) for i in np.unique(tasks)]))

    return function


def of_runs(aggregate):
    """Aggregate of all runs of all tasks together."""
    return lambda values, tasks: aggregate(values)


AGGREGATES = {
    'IQM': of_runs(iqm),
    'median': of_tasks(lambda x: quiet(np.nanmedian, x, 0)),
    'mean': of_tasks(mean),
    'optimality gap': of_runs(lambda x: mean(1 - np.minimum(x, 1))),
}


def interval(aggregate, values, tasks, resamples=RESAMPLES, seed=0):
    """Ends (2, ...) of the bootstrap interval of `aggregate(values (N, ...), tasks (N,))`.

    Runs are drawn again within each task. Where no task has two runs there is nothing to draw from,
    and both ends are NaN.
    """
    groups = [np.flatnonzero(tasks == i) for i in np.unique(tasks)]
    amounts = np.stack([np.isfinite(values[x]).sum(0) for x in groups]).max(0)
    if amounts.max() < 2:
        return np.full((2, *amounts.shape), np.nan)
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(resamples):
        index = np.concatenate([rng.choice(x, len(x)) for x in groups])
        drawn.append(aggregate(values[index], tasks[index]))
    tail = (1 - CONFIDENCE) / 2
    ends = quiet(np.nanquantile, np.stack(drawn), [tail, 1 - tail], 0)
    return np.where(amounts < 2, np.nan, ends)


def quiet(function, *args):
    """Without the warning that a column has no values; the result says it by NaN."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', RuntimeWarning)
        return function(*args)
