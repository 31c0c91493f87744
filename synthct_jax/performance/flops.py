"""Multiplications and additions of a program, counted in what it was traced to."""

import math
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jax.extend import core

from synthct_jax.layers.cpu import onednn


def flops(jaxpr: core.ClosedJaxpr) -> int:
    """Of convolutions and matrix products, on one device.

    Loops count as often as they run, branches as the dearest of them, and what is
    inside of `shard_map` by the shapes that one device has. In a convolution only what
    meets an element of the image counts: no padding, no holes of a dilation.
    Elementwise arithmetic is left out, as is custom.
    """
    return sum(times * _own(equation) for equation, times in _walk(jaxpr.jaxpr, 1))


def _walk(jaxpr: core.Jaxpr, times: int) -> Iterator[tuple[core.JaxprEqn, int]]:
    for equation in jaxpr.eqns:
        yield equation, times
        inner = times
        if equation.primitive.name == "scan":
            inner *= equation.params["length"]
        if equation.primitive.name == "cond":
            branches = [list(_walk(b.jaxpr, 1)) for b in equation.params["branches"]]
            cost = [sum(n * _own(e) for e, n in branch) for branch in branches]
            yield from ((e, n * times) for e, n in branches[int(np.argmax(cost))])
            continue
        for parameter in jax.tree.leaves(equation.params, is_leaf=_is_jaxpr):
            if isinstance(parameter, core.ClosedJaxpr):
                yield from _walk(parameter.jaxpr, inner)
            elif isinstance(parameter, core.Jaxpr):
                yield from _walk(parameter, inner)


def _is_jaxpr(parameter: Any) -> bool:
    return isinstance(parameter, core.ClosedJaxpr | core.Jaxpr)


def _own(equation: core.JaxprEqn) -> int:
    match equation.primitive.name:
        case "conv_general_dilated":
            return _convolution(equation)
        case "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            left = equation.invars[0].aval.shape
            depth = math.prod(left[axis] for axis in contracted)
            return 2 * depth * math.prod(equation.outvars[0].aval.shape)
        case "ffi_call" if equation.params["target_name"] == onednn.TARGET:
            left, result = equation.invars[0].aval, equation.outvars[0].aval
            return 2 * left.size * result.shape[-1]
    return 0


def _convolution(equation: core.JaxprEqn) -> int:
    p = equation.params
    image, kernel = (variable.aval.shape for variable in equation.invars)
    result = equation.outvars[0].aval.shape
    numbers = p["dimension_numbers"]
    met = 1
    for axis, (low, _) in enumerate(p["padding"]):
        length = image[numbers.lhs_spec[2 + axis]]
        taps = np.arange(kernel[numbers.rhs_spec[2 + axis]])
        places = np.arange(result[numbers.out_spec[2 + axis]])
        where = places[:, None] * p["window_strides"][axis] - low
        where = where + taps[None] * p["rhs_dilation"][axis]
        hole = p["lhs_dilation"][axis]
        inside = (where >= 0) & (where <= (length - 1) * hole) & (where % hole == 0)
        met *= int(inside.sum())
    per_output = kernel[numbers.rhs_spec[1]]
    # Batch groups, of gradients by kernels, each see their share of the batch.
    batch = image[numbers.lhs_spec[0]] // p["batch_group_count"]
    return 2 * batch * met * per_output * result[numbers.out_spec[1]]
