"""From nothing to the first update: imports, parameters, the first action, the first update.

    python benchmarks/first_update.py [--kind image] [--size size1m]

Costs of whole processes, with an empty and then with a full cache of compiled programs, and what of
them went where. The rest of a process is Python itself, and the data of the benchmark.
"""

import json
import os
import subprocess
import sys
import tempfile
import time

import measure

PARTS = ('imports', 'parameters', 'first action', 'first update')


def main(args):
    name = f'start {args.kind} {args.size}'
    with tempfile.TemporaryDirectory() as cache:
        repeats = 1 if args.quick else args.repeats
        for state, count in (('cold', 1), ('cached', repeats)):
            runs = [process(args, cache) for _ in range(count)]
            times = measure.Times([x[0] for x in runs], [x[1] for x in runs])
            for part in PARTS:
                values = [x[2]['cpu'][part] for x in runs]
                print(f'{name} {state}: {part} {min(values):.2f} CPU s')
            peak = max(x[2]['peak_gib'] for x in runs)
            yield {**measure.row(f'{name} {state}', times), 'peak_gib': peak}


def process(args, cache):
    """CPU and wall seconds of a process up to the first update, and what it says itself."""
    command = [sys.executable, __file__, 'child', args.kind, args.size]
    command += [*args.flags, f'jax.cache={cache}']
    before, wall = os.times(), time.perf_counter()
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    wall, after = time.perf_counter() - wall, os.times()
    cpu = sum(after[2:4]) - sum(before[2:4])
    return cpu, wall, json.loads(output.splitlines()[-1])


def start(kind, size, *flags):
    """What a run does up to the first update; prints the CPU seconds of each part."""
    spent = [time.process_time()]
    import subjects

    spent.append(time.process_time())
    agent, options = subjects.make(kind, size, flags)
    spent.append(time.process_time())
    agent.policy(agent.init_policy(options.run.envs), subjects.observation(agent, options.run.envs))
    spent.append(time.process_time())
    batch = next(agent.stream(iter([subjects.batch(agent, options)])))
    agent.train(agent.init_train(options.batch_size), batch)
    agent.flush()
    spent.append(time.process_time())
    parts = {k: b - a for k, a, b in zip(PARTS, spent[:-1], spent[1:], strict=True)}
    print(json.dumps({'cpu': parts, 'peak_gib': measure.peak_gib()}), flush=True)
    os._exit(0)  # Without the time that it takes to free everything.


if __name__ == '__main__' and sys.argv[1:2] == ['child']:
    start(*sys.argv[2:])
elif __name__ == '__main__':
    measure.main(
        __doc__,
        main,
        kind={'choices': ('image', 'proprio'), 'default': 'image'},
        size={'default': 'size1m'},
        repeats={'type': int, 'default': 3},
        flags={'nargs': '*', 'default': [], 'help': 'options of the agent, KEY=VALUE'},
    )
