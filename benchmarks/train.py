"""How long an update takes: CPU seconds, wall time, share of the machine's peak, memory.

    python benchmarks/train.py [--kind image] [--size size1m] [--flags jax.platform=cuda]

On a GPU CPU seconds say little; there the wall time, its memory, and the share of what it reaches
in a large product of matrices of the compute type are told.
"""

import statistics

import flops
import jax
import jax.numpy as jnp
import measure
import numpy as np
import subjects


def main(args):
    agent, options = subjects.make(args.kind, args.size, args.flags)
    stream = agent.stream(iter([subjects.batch(agent, options)]))
    batch, state = next(stream), {'carry': agent.init_train(options.batch_size)}

    def update():
        state['carry'], _, _ = agent.train(state['carry'], batch)
        agent.flush()
        jax.block_until_ready((agent.params, state['carry']))

    seeds = np.zeros((1, 2), np.uint32)
    traced = agent.programs.train.trace(agent.params, seeds, state['carry'], (batch,))
    times = measure.repeat(update, 3 if args.quick else args.repeats)
    gflop = flops.gflop(traced)
    row = measure.row(f'train {args.kind} {args.size}', times, gflop)
    device = jax.local_devices()[0]
    if device.platform != 'cpu':
        peak = 16384**3 * 2e-9 / product(agent.dtype)
        row['of_device_peak'] = gflop / row['wall'] / peak
        row['device_gib'] = device.memory_stats()['peak_bytes_in_use'] / 2**30
        print(f'{row["of_device_peak"]:.1%} of {peak / 1000:.0f} TFLOP/s')
        print(f'{row["device_gib"]:.2f} GiB of device memory')
    yield {**row, 'peak_gib': measure.peak_gib()}


def product(dtype, side=16384):
    """Wall seconds of a product of matrices on an accelerator."""
    x = jnp.ones((side, side), dtype)
    matmul = jax.jit(lambda x: x @ x)
    times = measure.repeat(lambda: matmul(x).block_until_ready(), 5)
    return statistics.median(times.wall)


if __name__ == '__main__':
    measure.main(
        __doc__,
        main,
        kind={'choices': list(subjects.SPACES), 'default': 'image'},
        size={'default': 'size1m'},
        repeats={'type': int, 'default': 15},
        flags={'nargs': '*', 'default': [], 'help': 'options of the agent, KEY=VALUE'},
    )
