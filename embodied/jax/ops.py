"""Small functions and loops that every network here is made of.

Arrays in, arrays out. The compute type is scoped: whoever compiles a program opens
`precision(dtype)` around it, layers call `cast`. Networks never name a type or a device.
"""

import contextlib
import contextvars
import math

import jax
import jax.numpy as jnp
import ninjax as nj

f32 = jnp.float32
i32 = jnp.int32
sg = jax.lax.stop_gradient

# From here on products of single blocks pay on a CPU.
MANY_ROWS = 128

_COMPUTE_DTYPE = contextvars.ContextVar('compute_dtype', default=jnp.float32)


@contextlib.contextmanager
def precision(dtype):
    """Compute type of everything that is traced inside, `jnp.float32` or `jnp.bfloat16`."""
    token = _COMPUTE_DTYPE.set(dtype)
    try:
        yield
    finally:
        _COMPUTE_DTYPE.reset(token)


def compute_dtype():
    return _COMPUTE_DTYPE.get()


def cast(tree):
    """Floats of a tree in the compute type; integers and bools as they are."""

    def one(x):
        return x.astype(compute_dtype()) if jnp.issubdtype(x.dtype, jnp.floating) else x

    return jax.tree.map(one, tree)


def symlog(x):
    """sign(x) ln(1 + |x|)"""
    return jnp.sign(x) * jnp.log1p(jnp.abs(x))


def symexp(x):
    """sign(x) (exp|x| - 1), the inverse of symlog"""
    return jnp.sign(x) * jnp.expm1(jnp.abs(x))


def where(condition, tree, other):
    """Choose per leading dimensions: `condition` (B, ...) against leaves (B, ..., *shape)."""

    def one(x, y):
        c = condition.reshape(condition.shape + (1,) * (x.ndim - condition.ndim))
        return jnp.where(c, x, y)

    return jax.tree.map(one, tree, other)


def mask(tree, keep):
    """Leaves (B, ..., *shape) with zeros where `keep` (B, ...) is false."""
    return where(keep, tree, jax.tree.map(jnp.zeros_like, tree))


def squares(tree):
    """Sum of the squares of all elements of all leaves, in float32."""
    # In one way for all that needs them, so that the compiler finds each sum once.
    return sum((jnp.square(f32(x)).sum() for x in jax.tree.leaves(tree)), f32(0))


def rms(tree):
    """Root of the mean square over all elements of all leaves."""
    return jnp.sqrt(squares(tree) / max(1, sum(x.size for x in jax.tree.leaves(tree))))


def flat(x, ndims):
    """Join the last `ndims` axes: (..., *shape) -> (..., prod(shape)); 0 adds an axis."""
    return x.reshape(x.shape[: x.ndim - ndims] + (math.prod(x.shape[x.ndim - ndims :]),))


@jax.custom_vjp
def matmul(x, kernel):
    """x (..., I) times kernel (I, O).

    The gradient of the kernel is one product over all rows. Left to itself, XLA on a CPU copies the
    cotangent into a transposed layout, and the product takes up to three times as long.
    """
    return x @ kernel


def _matmul_forward(x, kernel):
    return x @ kernel, (x, kernel)


def _matmul_backward(saved, grad):
    x, kernel = saved
    return grad @ kernel.T, rows(x).T @ rows(grad)


matmul.defvjp(_matmul_forward, _matmul_backward)


def block_matmul(x, kernel):
    """Slice i of x (..., g I) times kernel[i] (I, O), for all g blocks: (..., g O).

    On a CPU one product a block is several times faster than a batched one, whose result XLA lays
    out transposed. On an accelerator each product would be a launch, and few rows are not worth it.
    """

    def each(x, kernel):
        parts = jnp.split(x, len(kernel), -1)
        return jnp.concatenate([matmul(x, kernel[i]) for i, x in enumerate(parts)], -1)

    def batched(x, kernel):
        x = x.reshape(*x.shape[:-1], len(kernel), -1)
        return flat(jnp.einsum('...gi,gio->...go', x, kernel), 2)

    if math.prod(x.shape[:-1]) < MANY_ROWS:
        return batched(x, kernel)
    return jax.lax.platform_dependent(x, kernel, cpu=each, default=batched)


def rows(x):
    """All axes but the last joined: (..., D) -> (N, D)."""
    return x.reshape(-1, x.shape[-1])


def scan(fn, carry, xs, unroll=1):
    """`lax.scan` over axis 1 of (B, T, ...) whose body may call modules.

    The body only reads parameters, so it closes over them and is traced once. While parameters
    are being created, one call outside of the loop creates them. Randomness comes in through `xs`
    (see `seeds`), because the global seed must not be split inside of the loop.
    """
    xs = jax.tree.map(lambda x: x.swapaxes(0, 1), xs)
    if nj.creating():
        fn(carry, jax.tree.map(lambda x: x[0], xs))
    carry, ys = jax.lax.scan(fn, carry, xs, unroll=unroll)
    return carry, jax.tree.map(lambda y: y.swapaxes(0, 1), ys)


def frozen(fn):
    """`fn` with parameters and arguments as constants: nothing is differentiated in there."""

    def wrapper(*args):
        if nj.creating():
            return fn(*args)
        state = sg(dict(nj.context()))
        _, out = nj.pure(fn, nested=True)(state, *sg(args), seed=nj.seed(optional=True))
        return out

    return wrapper


def seeds(length):
    """One key per time step, (1, T, 2), to pass through `scan`; the body sees (1, 2)."""
    return nj.seed(length)[None]
