"""How long the agent takes to act: whole calls, and the compiled program alone.

    python benchmarks/policy.py [--kind image] [--size size1m] [--rows 1 16]

The difference is what the host does around it: seeds, transfers, results as arrays of NumPy.
"""

import flops
import jax
import measure
import numpy as np
import subjects


def main(args):
    agent, _ = subjects.make(args.kind, args.size, args.flags)
    for rows in args.rows:
        obs = subjects.observation(agent, rows)
        calls = 20 if args.quick else 100
        state = {'carry': agent.init_policy(rows)}

        def act():
            for _ in range(calls):
                state['carry'], _, _ = agent.policy(state['carry'], obs)

        program, seed = agent.programs.policy, np.zeros(2, np.uint32)

        def run():
            for _ in range(calls):
                result = program(agent.policy_params, seed, state['carry'], obs, mode='train')
                state['carry'] = jax.block_until_ready(result)[0]

        traced = program.trace(agent.policy_params, seed, state['carry'], obs, mode='train')
        name = f'policy {args.kind} {args.size} x{rows}'
        repeats = 3 if args.quick else args.repeats
        yield measure.row(name, measure.repeat(act, repeats, calls), flops.gflop(traced))
        yield measure.row(f'{name} jit', measure.repeat(run, repeats, calls))


if __name__ == '__main__':
    measure.main(
        __doc__,
        main,
        kind={'choices': list(subjects.SPACES), 'default': 'image'},
        size={'default': 'size1m'},
        rows={'type': int, 'nargs': '+', 'default': [1, 16]},
        repeats={'type': int, 'default': 25},
        flags={'nargs': '*', 'default': [], 'help': 'options of the agent, KEY=VALUE'},
    )
