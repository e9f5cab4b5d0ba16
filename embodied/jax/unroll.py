"""Loops of a traced program that do several steps in each iteration.

An accelerator starts every iteration anew, which takes longer than the work of a small agent.
"""

import jax
from jax.extend import core


def unrolled(fn, steps):
    """`fn` of arrays with `steps` steps in each iteration of its loops; it computes the same."""
    if steps == 1:
        return fn

    def wrapper(*args):
        program, shapes = jax.make_jaxpr(fn, return_shape=True)(*args)
        outs = core.jaxpr_as_fun(_rewritten(program, steps))(*jax.tree.leaves(args))
        return jax.tree.unflatten(jax.tree.structure(shapes), outs)

    return wrapper


def _rewritten(program, steps):
    """A program, or what else a parameter of an equation is, with its loops unrolled."""
    if isinstance(program, core.ClosedJaxpr):
        return program.replace(jaxpr=_rewritten(program.jaxpr, steps))
    if isinstance(program, core.Jaxpr):
        return program.replace(eqns=[_equation(x, steps) for x in program.eqns])
    if isinstance(program, tuple):
        return tuple(_rewritten(x, steps) for x in program) if _programs(program) else program
    return program


def _equation(equation, steps):
    params = {k: _rewritten(v, steps) for k, v in equation.params.items()}
    if equation.primitive.name == 'scan':
        params['unroll'] = min(steps, params['length'])
    return equation.replace(params=params)


def _programs(values):
    """Whether these are the branches of an equation."""
    return bool(values) and all(isinstance(x, core.ClosedJaxpr) for x in values)
