"""Whether an exported policy computes what the agent does, on random observations."""

import os
import pathlib
import subprocess
import sys
import tempfile

import jax
import numpy as np

from embodied.core import random

from . import pure

CHECKS = 100
TOLERANCE = 1e-3
# Runs in a process that has the folder only.
CHECK = """
import sys
import numpy as np
sys.path.insert(0, sys.argv[1])
import policy
inputs = dict(np.load(sys.argv[2]))
noise = inputs.pop('noise')
agent, outputs = policy.Policy(sys.argv[1]), []
for i in range(len(noise)):
    action, dists = agent.step({k: v[i] for k, v in inputs.items()}, noise[i])
    outputs.append({f'{k}/{n}': x for k, v in dists.items() for n, x in v.items()})
assert not {'dreamerv3', 'embodied', 'ninjax'} & set(sys.modules)
np.savez(sys.argv[3], **{k: np.stack([x[k] for x in outputs]) for k in outputs[0]})
"""


def examples(policy, seed=0):
    """Observations (CHECKS, 1, ...) by name, four episodes of random values, and noise."""
    rng = np.random.default_rng(seed)
    draw = lambda space: random.sample(space, CHECKS, rng)[:, None]
    obs = {k: draw(s) for k, s in policy.inputs['obs'].items()}
    obs['is_first'] = (np.arange(CHECKS) % (CHECKS // 4) == 0)[:, None]
    return obs, rng.gumbel(size=(CHECKS, 1, *policy.inputs['noise'].shape)).astype(np.float32)


def reference(policy, obs, noise):
    """What the policy says of actions, before it was exported."""
    step = jax.jit(policy.step)
    carry = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), policy.shapes(1)[0])
    outputs = []
    for i in range(CHECKS):
        carry, _, dists = step(policy.weights, carry, {k: v[i] for k, v in obs.items()}, noise[i])
        outputs.append(flat_numbers(dists))
    return {k: np.stack([x[k] for x in outputs]) for k in outputs[0]}


def flat_numbers(dists):
    return {f'{k}/{n}': np.asarray(x) for k, v in dists.items() for n, x in v.items()}


def run_stablehlo(folder, obs, noise):
    """The same by policy.py, in a process without this program."""
    with tempfile.TemporaryDirectory() as temp:
        given, answer = pathlib.Path(temp) / 'given.npz', pathlib.Path(temp) / 'answer.npz'
        np.savez(given, noise=noise, **obs)
        command = [sys.executable, '-IB', '-c', CHECK, str(folder), str(given), str(answer)]
        subprocess.run(command, check=True, env={**os.environ, 'JAX_PLATFORMS': 'cpu'})
        return dict(np.load(answer))


def run_onnx(folder, policy, obs, noise):
    """The same by onnxruntime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(folder / 'policy.onnx')
    output = [x.name for x in session.get_outputs()]
    carry = {k: np.zeros((1, *s.shape), s.dtype) for k, s in policy.inputs['carry'].items()}
    outputs = []
    for i in range(CHECKS):
        given = {f'carry/{k}': v for k, v in carry.items()}
        given |= {f'obs/{k}': v[i] for k, v in obs.items()} | {'noise': noise[i]}
        result = dict(zip(output, session.run(None, given), strict=True))
        carry = pure.strip('next', result)
        outputs.append(pure.strip('dists', result))
    return {k: np.stack([x[k] for x in outputs]) for k in outputs[0]}


def check(policy, folder):
    """Largest differences by format, printed; ValueError if one is above TOLERANCE."""
    obs, noise = examples(policy)
    want = reference(policy, obs, noise)
    worst = {'StableHLO': compare('StableHLO', want, run_stablehlo(folder, obs, noise))}
    if (folder / 'policy.onnx').is_file():
        worst['ONNX'] = compare('ONNX', want, run_onnx(folder, policy, obs, noise))
    return worst


def compare(title, want, have):
    """Print and return the largest difference of the numbers that describe actions."""
    assert want.keys() == have.keys(), (want.keys(), have.keys())
    worst = max(float(abs(want[k] - have[k]).max()) for k in want)
    largest = max(float(abs(x).max()) for x in want.values())
    kinds = ' and '.join(sorted({k.rpartition('/')[2] for k in want}))
    print(
        f'{title}: the largest difference of action {kinds} over {CHECKS} observations is '
        f'{worst:.3g} (of values up to {largest:.3g})',
        flush=True,
    )
    if not worst < TOLERANCE:
        raise ValueError(f'{title} does not compute what the agent does (over {TOLERANCE:g})')
    return worst
