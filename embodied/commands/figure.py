"""The figure of `plot`: a panel for all tasks together, and one for each task."""

import numpy as np
from matplotlib import figure

COLUMNS = 6
WIDTH, HEIGHT = 3.2, 2.5  # Inches of a panel.
SEEDS = 10  # Of more, only mean and band are drawn.


def draw(panels: dict[str, dict], ylabel: str, title: str = ''):
    """A figure with a panel for each title, in which each method has (xs, mean, band, runs).

    The panels of all tasks have a share of their budget as axis, those of one task its steps.
    """
    columns = min(len(panels), COLUMNS)
    rows = -(-len(panels) // columns)
    wide = 2 if len(panels) == 1 else 1
    size = (wide * WIDTH * columns, wide * HEIGHT * rows * 0.9 + 0.6)
    page = figure.Figure(figsize=size, layout='constrained')
    axes = page.subplots(rows, columns, squeeze=False).flatten()
    methods = list(dict.fromkeys(k for lines in panels.values() for k in lines))
    colors = {k: f'C{i % 10}' for i, k in enumerate(methods)}
    for ax, (name, lines) in zip(axes, panels.items(), strict=False):
        for method, line in lines.items():
            draw_line(ax, *line, colors[method], method)
        ax.set_title(name, fontsize=10)
        ax.grid(alpha=0.3)
        ax.set_xlim(0, max(np.max(line[0]) for line in lines.values()))
        ax.tick_params(labelsize=8)
        ax.xaxis.set_major_formatter(short if ax.get_xlim()[1] > 1 else percent)
    for ax in axes[len(panels) :]:
        ax.remove()
    # Not as one label of the page, over which the legend would lie.
    for ax in axes[max(0, len(panels) - columns) : len(panels)]:
        steps = 'environment steps' if ax.get_xlim()[1] > 1 else 'share of the steps'
        ax.set_xlabel(steps, fontsize=10 if columns == 1 else 8)
    handles = {k: v for ax in axes[: len(panels)] for v, k in zip(*legend(ax), strict=True)}
    page.legend(
        handles.values(), handles.keys(), loc='outside lower center', ncols=4, frameon=False
    )
    page.supylabel(ylabel, fontsize=10)
    if title:
        page.suptitle(title)
    return page


def draw_line(ax, xs, mean, band, runs, color, label):
    if len(runs) <= SEEDS:
        for run in runs:
            ax.plot(xs, run, color=color, alpha=0.3, linewidth=0.8)
    # A band of one point is as wide as nothing, so that one gets a mark.
    ax.plot(xs, mean, color=color, linewidth=1.8, label=label, marker='.' if len(xs) == 1 else '')
    ax.fill_between(xs, *band, color=color, alpha=0.2, linewidth=0)


def legend(ax):
    return ax.get_legend_handles_labels()


def percent(value, position=None):
    """Share of the steps of a task."""
    return f'{value:.0%}'


def short(value, position=None):
    """Steps as 0, 500, 20k, 1.5M."""
    for size, letter in ((1e9, 'B'), (1e6, 'M'), (1e3, 'k')):
        if abs(value) >= size:
            return f'{value / size:.4g}{letter}'
    return f'{value:.4g}'
