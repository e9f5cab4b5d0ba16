"""A whole training run: environment steps and updates per CPU second, and how much are updates.

    python benchmarks/end_to_end.py [--updates 30] [--flags run.envs=4]

Runs `crafter size1m` with one environment in this process and a train ratio of 32 by the parts of
the script `train`, and measures from the second update on: before that programs are compiled.
"""

import contextlib
import importlib
import itertools
import tempfile
import time

import measure

from dreamerv3 import checks
from dreamerv3 import main as program
from embodied import build, cli

train = importlib.import_module('embodied.run.train')  # The package has a function of that name.

RUN = '--configs crafter size1m --run.envs 1 --run.parallel_envs False --run.train_ratio 32'
RUN += ' --run.log_every 0 --run.report_every 0 --run.save_every 0'
WARM = 2  # Updates before it counts.
# Steps after which acting is compiled, and those of acting alone that are measured then: replay
# does not hold the 1,040 steps of a batch yet.
COMPILED, ACTING = 200, 600


def main(options):
    rows = []

    def script(make_agent, make_replay, make_env, make_stream, make_logger, args):
        with contextlib.ExitStack() as stack:
            makers = make_agent, make_replay, make_env, make_stream, make_logger
            run = train.Run(*makers, args, stack)
            rows.extend(measured(run, 4 if options.quick else options.updates))

    build.SCRIPTS['train'] = script
    with tempfile.TemporaryDirectory() as folder:
        argv = [*RUN.split(), '--logdir', folder]
        argv += itertools.chain(
            *([f'--{k}', v] for k, v in (x.split('=', 1) for x in options.flags))
        )
        cli.main('dreamerv3.agent:make_agent', program.FOLDER / 'configs.yaml', checks.check, argv)
    yield from rows


def measured(run, updates):
    """A row for environment steps and one for updates, of the same stretch of a run."""
    run.resume()
    run.begin()
    alone = acting(run)
    while run.learner.updates < WARM:
        run.advance()
    step, first = int(run.step), run.learner.updates
    cpu, wall = time.process_time(), time.perf_counter()
    while run.learner.updates < first + updates:
        run.advance()
    run.learner.flush()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    # An update goes on while the next actions wait for it, so no section of the timer is its time.
    inside = 1 - alone * (int(run.step) - step) / wall
    peak = measure.peak_gib()
    for name, amount in (('steps', int(run.step) - step), ('updates', run.learner.updates - first)):
        times = measure.Times([cpu / amount], [wall / amount])
        row = measure.row(f'run crafter size1m {name}', times, amount=1)
        yield {**row, 'in_updates': inside, 'peak_gib': peak}
    print(f'{inside:.1%} of the time is in updates')


def acting(run):
    """Wall seconds of a step without learning."""
    while int(run.step) < COMPILED:
        run.advance()
    step, wall = int(run.step), time.perf_counter()
    while int(run.step) < step + ACTING:
        run.advance()
    return (time.perf_counter() - wall) / (int(run.step) - step)


if __name__ == '__main__':
    measure.main(
        __doc__,
        main,
        updates={'type': int, 'default': 30},
        flags={'nargs': '*', 'default': [], 'help': 'options of the run, KEY=VALUE'},
    )
