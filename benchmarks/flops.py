"""Floating-point operations of a program: those of its matrix products and convolutions.

They are counted in the traced program, where loops tell how often they run. XLA's own analysis
counts the body of a loop once.
"""

import math

from jax.extend import core


def gflop(traced):
    """1e9 operations of a `jax.jit(...).trace(...)`, two for each multiplication and addition."""
    return count(traced.jaxpr.jaxpr) / 1e9


def count(jaxpr):
    """Operations of a program; of branches the most expensive one, as for other platforms."""
    total = 0
    for equation in jaxpr.eqns:
        name, params = equation.primitive.name, equation.params
        if name == 'dot_general':
            total += product(equation)
        elif name == 'conv_general_dilated':
            total += convolution(equation)
        elif name == 'cond':
            total += max(count(x.jaxpr) for x in params['branches'])
        else:
            times = params['length'] if name == 'scan' else 1
            total += times * sum(count(x) for x in inner(params))
    return total


def inner(params):
    """Programs inside of an equation."""
    for value in params.values():
        if isinstance(value, core.ClosedJaxpr):
            yield value.jaxpr
        elif isinstance(value, core.Jaxpr):
            yield value


def product(equation):
    left, _ = (x.aval for x in equation.invars)
    (contracted, _), _ = equation.params['dimension_numbers']
    terms = math.prod(left.shape[i] for i in contracted)
    return 2 * math.prod(equation.outvars[0].aval.shape) * terms


def convolution(equation):
    """Multiplications with zeros that only spread the input are left out, those at borders not."""
    kernel = equation.invars[1].aval.shape
    outputs = equation.params['dimension_numbers'].rhs_spec[0]
    terms = math.prod(kernel) // kernel[outputs]
    spread = math.prod(equation.params['lhs_dilation'])
    return 2 * math.prod(equation.outvars[0].aval.shape) * terms / spread
