"""Write a trained agent into a folder that others can use, or put on a model hub.

    policy.bin            one step of the policy, for jax.export
    policy.mlir           the same in StableHLO, to read or to compile elsewhere
    policy.onnx           the same with its weights, with --onnx
    policy.py             runs the first one; needs JAX, but nothing of DreamerV3
    weights.safetensors   all parameters but those of the optimizer
    config.yaml           options of the agent and of its environment
    spaces.json           names, types, shapes and bounds of what goes in and out
    scores.json           how well it played, as far as the logdir tells
    README.md             a model card

dreamerv3.load(OUT) takes it back. At the end, the exported policy is compared with the agent.
"""

import argparse
import importlib.util
import json
import logging
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import warnings

import elements
import jax
import jax.numpy as jnp
import ninjax as nj
import numpy as np
from jax import export as jax_export
from ruamel.yaml import YAML

from embodied import cli, commands
from embodied.core import files, random, spaces, trees
from embodied.jax import ops

from . import agent, card, exported, stored, trained

PLATFORMS = ('cpu', 'cuda', 'tpu')
MOST = 64  # Environments of one call.
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


class Policy:
    """One step of the policy as a pure function of dicts by name, in float32.

    step(weights, carry, obs, noise) -> carry, action, dists

    All but the weights are (B, ...). The noise (B, S, C) is standard Gumbel noise for the latents;
    `dists` are the parameters of the distributions of actions.
    """

    def __init__(self, loaded: trained.Trained):
        self.model = loaded.model
        with ops.precision(jnp.float32):
            state, action = jax.eval_shape(lambda: self.model.initial(1))
        carry = {**prefix('state', state), **prefix('action', action)}
        space = lambda x: elements.Space(np.dtype(x.dtype), x.shape[1:])
        self.inputs = {
            'carry': {k: space(v) for k, v in carry.items()},
            'obs': {**loaded.obs_space, 'is_first': elements.Space(bool)},
            'noise': elements.Space(np.float32, state['stoch'].shape[1:]),
        }
        self.weights = {
            k: np.asarray(v)
            for k, v in loaded.params.items()
            if re.match(self.model.policy_keys, k)
        }
        self._pure = nj.pure(self._step)

    def step(self, weights, carry, obs, noise):
        with ops.precision(jnp.float32):
            return self._pure(weights, carry, obs, noise)[1]

    def _step(self, carry, obs, noise):
        model = self.model
        state, prevact = strip('state', carry), strip('action', carry)
        # onnxruntime does not mask bools.
        prevact = {k: v.astype(jnp.int32) if v.dtype == bool else v for k, v in prevact.items()}
        tokens = model.enc(obs, bdims=1)
        state, _ = model.dyn.observe_step(state, tokens, prevact, obs['is_first'], noise)
        dists = model.pol(agent.features(state), bdims=1)
        action = {k: d.pred().astype(model.act_space[k].dtype) for k, d in dists.items()}
        carry = {**prefix('state', state), **prefix('action', action)}
        return carry, action, {k: numbers(d) for k, d in dists.items()}

    def shapes(self, size):
        """Types and shapes of carry, obs and noise for a number of environments."""
        shape = lambda s: jax.ShapeDtypeStruct((size, *s.shape), s.dtype)
        is_space = lambda x: isinstance(x, elements.Space)
        return jax.tree.map(shape, tuple(self.inputs.values()), is_leaf=is_space)


def numbers(dist):
    """Parameters of the distribution of an action."""
    if hasattr(dist, 'logits'):
        return {'logits': dist.logits}
    return {'mean': dist.mean, 'stddev': dist.std}


def write_stablehlo(policy, folder):
    """policy.bin and policy.mlir, for any number of environments up to MOST."""
    (size,) = jax_export.symbolic_shape('b', constraints=[f'b <= {MOST}'])
    program = jax_export.export(jax.jit(policy.step), platforms=PLATFORMS)
    shape = lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype)
    result = program(jax.tree.map(shape, policy.weights), *policy.shapes(size))
    (folder / 'policy.bin').write_bytes(result.serialize())
    (folder / 'policy.mlir').write_text(result.mlir_module())


def write_onnx(policy, folder):
    """policy.onnx for one environment; inputs and outputs are named by their paths.

    The actions are those in the next carry, `next/action/KEY`.
    """
    import jax2onnx

    shapes = policy.shapes(1)
    leaves, structure = jax.tree.flatten(shapes)

    def step(*inputs):
        carry, _, dists = policy.step(policy.weights, *jax.tree.unflatten(structure, inputs))
        # The mean may also be the action, and a value cannot have two names.
        return carry, jax.tree.map(lambda x: x + 0.0, dists)

    logging.getLogger('onnx_ir').setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # It asks for types that JAX does not have by default.
        jax2onnx.to_onnx(
            lambda *inputs: jax.tree.leaves(step(*inputs)),
            leaves,
            model_name='policy',
            input_names=names(('carry', 'obs', 'noise'), shapes),
            output_names=names(('next', 'dists'), jax.eval_shape(step, *leaves)),
            return_mode='file',
            output_path=str(folder / 'policy.onnx'),
        )


def names(titles, trees):
    """Names of the leaves of nested dicts, in the order of JAX."""
    return [
        '/'.join([title, *(x.key for x in path)])
        for title, tree in zip(titles, trees, strict=True)
        for path, _ in jax.tree_util.tree_flatten_with_path(tree)[0]
    ]


def write_agent(policy, saved, folder):
    """What is needed to load the agent, here or by `policy.py`."""
    files.put(folder / stored.WEIGHTS, trees.tensor_file(saved.params))
    YAML(typ='safe').dump({k: plain(v) for k, v in saved.options.items()}, folder / stored.OPTIONS)
    inputs = {k: spaces.save(policy.inputs[k]) for k in ('carry', 'obs')}
    (inputs['noise'],) = spaces.save({'noise': policy.inputs['noise']}).values()
    content = {
        'step': saved.step,
        'obs': spaces.save(saved.obs_space),
        'act': spaces.save(saved.act_space),
        'policy': {'weights': policy.model.policy_keys, 'inputs': inputs},
    }
    (folder / stored.SPACES).write_text(json.dumps(content, indent=2) + '\n')
    shutil.copy(exported.__file__, folder / 'policy.py')


def plain(value):
    return list(value) if isinstance(value, tuple) else value


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
        subprocess.run(command, check=True)
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
        carry = strip('next', result)
        outputs.append(strip('dists', result))
    return {k: np.stack([x[k] for x in outputs]) for k in outputs[0]}


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


def prefix(title, tree):
    return {f'{title}/{k}': v for k, v in tree.items()}


def strip(title, tree):
    return {k.removeprefix(f'{title}/'): v for k, v in tree.items() if k.startswith(f'{title}/')}


def export(path, out, onnx=False):
    """Write the agent of a path into a new folder, whole or not at all. Returns the differences."""
    out = pathlib.Path(out).expanduser().absolute()
    if out.exists():
        raise ValueError(f'out: got {str(out)!r}, allowed is a new folder')
    if onnx and importlib.util.find_spec('jax2onnx') is None:
        raise ValueError("onnx: needs the package jax2onnx: pip install 'dreamerv3-embodied[onnx]'")
    loaded = trained.load(path)
    policy = Policy(loaded)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f'.{out.name}-') as temp:
        folder = pathlib.Path(temp) / 'export'
        folder.mkdir()
        write_agent(policy, loaded.stored, folder)
        write_stablehlo(policy, folder)
        if onnx:
            write_onnx(policy, folder)
        obs, noise = examples(policy)
        want = reference(policy, obs, noise)
        worst = {'StableHLO': compare('StableHLO', want, run_stablehlo(folder, obs, noise))}
        if onnx:
            worst['ONNX'] = compare('ONNX', want, run_onnx(folder, policy, obs, noise))
        card.write(loaded, folder, worst)
        folder.rename(out)
    return worst


def main(argv=None):
    parser = commands.Parser(
        prog='python -m dreamerv3.export',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('logdir', help='logdir or checkpoint of a trained agent')
    parser.add_argument('out', help='new folder')
    parser.add_argument('--onnx', action='store_true', help='write policy.onnx as well')
    args = parser.parse_args(argv)
    try:
        export(args.logdir, args.out, args.onnx)
    except (ValueError, OSError) as e:
        if isinstance(e, ValueError) and not cli.is_message(e, main):
            raise
        cli.fail(parser.prog, e)
    print(f'Wrote {args.out}')


if __name__ == '__main__':
    main()
