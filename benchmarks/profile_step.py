"""Which part of an update takes how long: encoder, dynamics, imagination, decoder, heads and so on.

    python benchmarks/profile_step.py [--configs crafter size1m] [--updates 5] [--ops 15]

A trace of the profiler has the time of each operation of the compiled program, on all threads of a
CPU or on the device, and the program tells which line of the model an operation comes from. A
fused operation counts for the part that most of it is from, loops for what is in them.
"""

import argparse
import collections
import gzip
import json
import pathlib
import re
import tempfile

import jax
import numpy as np
import subjects

# Parts by the name of the module; the innermost one counts.
MODULES = {
    'enc': 'encoder',
    'dec': 'decoder',
    'dyn': 'dynamics',
    'rew': 'reward, continuation',
    'con': 'reward, continuation',
    'pol': 'policy',
    'val': 'critic',
    'slowval': 'critic',
}
NESTED = re.compile(r'(while|call|conditional)[.\d]*')  # Their time is that of what is in them.


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--configs', nargs='+', default=['crafter', 'size1m'])
    parser.add_argument('--updates', type=int, default=5)
    parser.add_argument('--ops', type=int, default=15, help='single operations to show')
    parser.add_argument('--flags', nargs='*', default=[], help='options, KEY=VALUE')
    args = parser.parse_args()
    options = subjects.SCHEMA.resolve(args.configs, dict(x.split('=', 1) for x in args.flags))
    kind = 'proprio' if options.task.startswith('gym_') or 'proprio' in args.configs[0] else 'image'
    agent = subjects.agent.make_agent(*subjects.SPACES[kind], options)
    times, text = traced(agent, options, args.updates)
    names = scopes(text)
    show(times, names, args.ops)


def traced(agent, options, updates):
    """Milliseconds per update of each operation, and the compiled program as text."""
    batch = next(agent.stream(iter([subjects.batch(agent, options)])))
    carry, _, _ = agent.train(agent.init_train(options.batch_size), batch)
    seeds = np.zeros((1, 2), np.uint32)
    program = agent.programs.train.lower(agent.params, seeds, carry, (batch,)).compile()
    agent.flush()
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            for _ in range(updates):
                carry, _, _ = agent.train(carry, batch)
            agent.flush()
            jax.block_until_ready(carry)
        (path,) = pathlib.Path(folder).rglob('*.trace.json.gz')
        events = json.loads(gzip.decompress(path.read_bytes()))['traceEvents']
    times = collections.Counter()
    for event in events:
        name = event.get('args', {}).get('hlo_op')
        if name and event.get('ph') == 'X' and not NESTED.fullmatch(name):
            times[name] += event['dur'] / 1000 / updates
    return times, program.as_text()


def scopes(text):
    """Part and scope of each operation of a compiled program.

    A fused operation belongs to the part that most of it is from. What is in a loop that acts is
    imagination.
    """
    scope, home, inside, users = {}, {}, collections.defaultdict(list), {}
    computation = None
    for line in text.splitlines():
        if match := re.match(r'(?:ENTRY )?%?([\w.\-]+) \(.*\{$', line):
            computation = match[1]
        elif match := re.match(r'\s+(?:ROOT )?%?([\w.\-]+) = ', line):
            name = match[1]
            found = re.search(r'op_name="([^"]*)"', line)
            scope[name], home[name] = found[1] if found else '', computation
            inside[computation].append(name)
            for called in re.findall(r'(?:calls|body|to_apply)=%?([\w.\-]+)', line):
                users[called] = name
    parts = {}
    for name in scope:
        parts[name] = part(scope[name])
    for called, user in users.items():
        counts = collections.Counter(parts[x] for x in inside[called] if scope[x])
        if counts:
            parts[user] = counts.most_common(1)[0][0]
    loops = {x for x, user in users.items() if user.startswith('while')}
    dreams = {home[x] for x, y in parts.items() if y == 'policy'} & loops
    for name in scope:
        if home[name] in dreams:
            parts[name] = 'imagination'
    return {k: (parts[k], scope[k]) for k in scope}


def part(scope):
    """Everything is inside of the optimizer; what is not differentiated is its own."""
    if found := re.findall(rf'\b({"|".join(MODULES)})\b', scope):
        return MODULES[found[-1]]
    if 'jvp(' in scope:
        return 'losses'
    return 'optimizer' if re.search(r'\bopt\b', scope) else 'other'


def show(times, names, ops):
    """Print the parts, forward and backward apart, and the longest operations."""
    total = sum(times.values())
    shares = collections.defaultdict(lambda: [0.0, 0.0])
    for name, time in times.items():
        where, scope = names.get(name, ('other', ''))
        shares[where]['transpose(' in scope] += time
    print(f'| part | ms | share | forward | backward |\n{"| --- " * 5}|')
    for where, (forward, backward) in sorted(shares.items(), key=lambda x: -sum(x[1])):
        both = forward + backward
        print(
            f'| {where} | {both:.1f} | {both / total:.1%} | {forward / total:.1%} '
            f'| {backward / total:.1%} |'
        )
    print(f'| all | {total:.1f} | | | |\n')
    for name, time in times.most_common(ops):
        where, scope = names.get(name, ('other', ''))
        print(f'{time:8.2f} ms  {where:20} {name:40} {scope[-80:]}')


if __name__ == '__main__':
    main()
