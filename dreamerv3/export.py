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
import shutil
import tempfile
import warnings

import jax
from jax import export as jax_export
from ruamel.yaml import YAML

from embodied import cli, commands
from embodied.core import spaces, trees
from embodied.core.system import files
from embodied.jax import device

from . import card, exported, parity, pure, stored, trained

PLATFORMS = ('cpu', 'cuda', 'tpu')
MOST = 64  # Environments of one call.


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


def export(path, out, onnx=False):
    """Write the agent of a path into a new folder, whole or not at all. Returns the differences."""
    out = pathlib.Path(out).expanduser().absolute()
    if out.exists():
        raise ValueError(f'out: got {str(out)!r}, allowed is a new folder')
    if onnx and importlib.util.find_spec('jax2onnx') is None:
        raise ValueError("onnx: needs the package jax2onnx: pip install 'dreamerv3-embodied[onnx]'")
    loaded = trained.load(path)
    policy = pure.Policy(loaded)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f'.{out.name}-') as temp:
        folder = pathlib.Path(temp) / 'export'
        folder.mkdir()
        write_agent(policy, loaded.stored, folder)
        write_stablehlo(policy, folder)
        if onnx:
            write_onnx(policy, folder)
        worst = parity.check(policy, folder)
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
    # An accelerator is not needed, and two processes would not share one.
    device.setup(platform='cpu')
    try:
        export(args.logdir, args.out, args.onnx)
    except (ValueError, OSError) as e:
        if isinstance(e, ValueError) and not cli.is_message(e, main):
            raise
        cli.fail(parser.prog, e)
    print(f'Wrote {args.out}')


if __name__ == '__main__':
    main()
