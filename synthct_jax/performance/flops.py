"""Floating-point operations of a traced program."""

import math
from collections.abc import Iterator

import jax
import numpy as np
from jax.extend import core

from synthct_jax.layers.cpu import onednn


def count_flops(jaxpr: core.ClosedJaxpr) -> int:
    """Count multiplications and additions of convolutions and matrix products.

    The count is that of one device: inside `shard_map` shapes are those of a shard. A
    loop counts once per iteration, and a conditional as its most expensive branch. Taps
    of a convolution that fall on padding, or on the zeros of a dilated image, do not
    count. Elementwise arithmetic is left out, as is usual.
    """
    return sum(times * _flops_of(equation) for equation, times in _walk(jaxpr.jaxpr, 1))


def _walk(jaxpr: core.Jaxpr, times: int) -> Iterator[tuple[core.JaxprEqn, int]]:
    """Yield every equation, those of inner programs too, and how often it runs."""
    for equation in jaxpr.eqns:
        yield equation, times
        inner = times
        if equation.primitive.name == "scan":
            inner *= equation.params["length"]
        if equation.primitive.name == "cond":
            branches = [list(_walk(b.jaxpr, 1)) for b in equation.params["branches"]]
            costs = [sum(n * _flops_of(e) for e, n in branch) for branch in branches]
            yield from ((e, n * times) for e, n in branches[int(np.argmax(costs))])
            continue
        for parameter in jax.tree.leaves(equation.params):
            if isinstance(parameter, core.ClosedJaxpr):
                yield from _walk(parameter.jaxpr, inner)
            elif isinstance(parameter, core.Jaxpr):
                yield from _walk(parameter, inner)


def _flops_of(equation: core.JaxprEqn) -> int:
    """Count the operations of one equation, without those of inner programs."""
    match equation.primitive.name:
        case "conv_general_dilated":
            return _convolution_flops(equation)
        case "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            left = equation.invars[0].aval.shape
            depth = math.prod(left[axis] for axis in contracted)
            return 2 * depth * math.prod(equation.outvars[0].aval.shape)
        case "ffi_call" if equation.params["target_name"] == onednn.TARGET:
            left, result = equation.invars[0].aval, equation.outvars[0].aval
            return 2 * left.size * result.shape[-1]
    return 0


def _convolution_flops(equation: core.JaxprEqn) -> int:
    p = equation.params
    image, kernel = (variable.aval.shape for variable in equation.invars)
    result = equation.outvars[0].aval.shape
    numbers = p["dimension_numbers"]
    products = 1  # of taps with elements of the image, per pair of channels
    for axis, (low, _) in enumerate(p["padding"]):
        length = image[numbers.lhs_spec[2 + axis]]
        taps = np.arange(kernel[numbers.rhs_spec[2 + axis]])
        outputs = np.arange(result[numbers.out_spec[2 + axis]])
        position = outputs[:, None] * p["window_strides"][axis] - low
        position = position + taps[None] * p["rhs_dilation"][axis]
        step = p["lhs_dilation"][axis]
        inside = (position >= 0) & (position <= (length - 1) * step)
        products *= int((inside & (position % step == 0)).sum())
    channels_in = kernel[numbers.rhs_spec[1]]
    # Gradients of kernels group the batch: each group sees its share of the images.
    batch = image[numbers.lhs_spec[0]] // p["batch_group_count"]
    return 2 * batch * products * channels_in * result[numbers.out_spec[1]]
