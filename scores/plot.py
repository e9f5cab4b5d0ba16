"""Draws learning curves of one task: every seed, and the mean of each group of seeds.

    pip install -e '.[plot]'
    python scores/plot.py gym_CartPole-v1 --title 'CartPole-v1, quickstart'

Reads scores/TASK-GROUP-SEED.jsonl, writes scores/TASK.png.
"""

import argparse
import json
import pathlib

import matplotlib.pyplot as plt
import numpy as np

FOLDER = pathlib.Path(__file__).parent


def load(task, folder=FOLDER):
    """Steps and scores of every finished episode, by name of the run."""
    curves = {}
    for path in sorted(folder.glob(f'{task}-*.jsonl')):
        rows = [json.loads(x) for x in path.read_text().splitlines()]
        rows = [(x['step'], x['episode/score']) for x in rows if 'episode/score' in x]
        curves[path.stem.removeprefix(f'{task}-')] = np.array(rows).T
    if not curves:
        raise SystemExit(f'There is no {folder}/{task}-*.jsonl')
    return curves


def binned(steps, scores, edges):
    """Mean score of the episodes that ended in each bin; where none did, that of the bin before."""
    index = np.digitize(steps, edges) - 1
    means, last = [], np.nan
    for i in range(len(edges) - 1):
        inside = scores[index == i]
        last = inside.mean() if len(inside) else last
        means.append(last)
    return np.array(means)


def draw(curves, title, bins=30):
    """Figure with a thin line per run and a thick one for the mean of each group."""
    edges = np.linspace(0, max(steps.max() for steps, _ in curves.values()) + 1, bins + 1)
    centers = (edges[1:] + edges[:-1]) / 2
    groups = {}
    for name, curve in curves.items():
        groups.setdefault(name.rpartition('-')[0], []).append(binned(*curve, edges))
    figure, axes = plt.subplots(figsize=(6, 3.6), layout='constrained')
    for i, (group, means) in enumerate(groups.items()):
        for mean in means:
            axes.plot(centers, mean, color=f'C{i}', alpha=0.4, linewidth=1)
        label = f'{group}, mean of {len(means)}'
        axes.plot(centers, np.nanmean(means, 0), color=f'C{i}', linewidth=2, label=label)
    axes.set(xlabel='environment steps', ylabel='episode score while training', title=title)
    axes.set_xlim(0, edges[-1])
    axes.set_ylim(bottom=min(0, axes.get_ylim()[0]))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return figure


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('task', help='as in the names of the files')
    parser.add_argument('--title', default=None)
    args = parser.parse_args()
    target = FOLDER / f'{args.task}.png'
    draw(load(args.task), args.title or args.task).savefig(target, dpi=150)
    print(f'Wrote {target}')


if __name__ == '__main__':
    main()
