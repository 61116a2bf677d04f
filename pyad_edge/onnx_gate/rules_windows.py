"""Shapes and work of convolutions, poolings and matrix products."""

from __future__ import annotations

import math
from collections.abc import Callable

from pyad_edge.onnx_gate.values import Call, Shape, Value, broadcast

__all__ = ["RULES"]


def _window(call: Call, shape: Shape, kernel: list[int]) -> list[int]:
    """Sides of the output along the spatial axes."""
    rank = len(kernel)
    if len(shape) != rank + 2 or not 1 <= rank <= 3 or min(kernel) < 1:
        raise call.refuse(f"puts a window of {kernel} on a value of shape {shape}")
    strides = call.whole("strides", rank, 1, least=1)
    dilations = call.whole("dilations", rank, 1, least=1)
    pads = call.whole("pads", 2 * rank, 0, least=0)
    automatic = call.attribute("auto_pad", str, "NOTSET")
    rounded_up = call.attribute("ceil_mode", int, 0) != 0
    sides = []
    for n, side in enumerate(shape[2:]):
        reach = dilations[n] * (kernel[n] - 1) + 1
        if automatic in ("SAME_UPPER", "SAME_LOWER"):
            sides.append(-(-side // strides[n]))
            continue
        if automatic not in ("NOTSET", "", "VALID"):
            raise call.refuse(f"has the unknown auto_pad '{automatic}'")
        room = side - reach + (0 if automatic == "VALID" else pads[n] + pads[n + rank])
        if room < 0:
            raise call.refuse(f"puts a window of {reach} on {side} positions")
        count = (-(-room // strides[n]) if rounded_up else room // strides[n]) + 1
        # A last window that begins behind the value is left out.
        behind = rounded_up and (count - 1) * strides[n] >= side + pads[n]
        sides.append(count - 1 if behind else count)
    return sides


def _conv(call: Call) -> list[Value]:
    shape, weight = call.shape(0), call.shape(1)
    if len(weight) < 3:
        raise call.refuse(f"has weights of shape {weight}")
    group = call.attribute("group", int, 1)
    if len(shape) < 2 or group < 1 or shape[1] != weight[1] * group or weight[0] % group:
        raise call.refuse(f"has weights of shape {weight} for a value of shape {shape}")
    kernel = list(weight[2:])
    if call.attribute("kernel_shape", list, kernel) != kernel:
        raise call.refuse("has a kernel_shape that its weights do not have")
    out = (shape[0], weight[0], *_window(call, shape, kernel))
    call.work += math.prod(out) * weight[1] * math.prod(kernel)
    return [Value(out)]


def _conv_transpose(call: Call) -> list[Value]:
    shape, weight = call.shape(0), call.shape(1)
    rank = len(weight) - 2
    group = call.attribute("group", int, 1)
    if rank < 1 or len(shape) != rank + 2 or group < 1 or shape[1] != weight[0]:
        raise call.refuse(f"has weights of shape {weight} for a value of shape {shape}")
    kernel = list(weight[2:])
    if call.attribute("kernel_shape", list, kernel) != kernel:
        raise call.refuse("has a kernel_shape that its weights do not have")
    if call.attribute("auto_pad", str, "NOTSET") not in ("NOTSET", "VALID"):
        raise call.refuse("pads by a rule; only pads that are said are known here")
    if "output_shape" in call.node.attributes:
        raise call.refuse("sets its output_shape; only pads that are said are known here")
    strides = call.whole("strides", rank, 1, least=1)
    dilations = call.whole("dilations", rank, 1, least=1)
    pads = call.whole("pads", 2 * rank, 0, least=0)
    more = call.whole("output_padding", rank, 0, least=0)
    sides = [
        strides[n] * (shape[n + 2] - 1)
        + more[n]
        + dilations[n] * (kernel[n] - 1)
        + 1
        - pads[n]
        - pads[n + rank]
        for n in range(rank)
    ]
    out = (shape[0], weight[1] * group, *sides)
    call.work += math.prod(shape) * weight[1] * math.prod(kernel)
    return [Value(out)]


def _pool(call: Call) -> list[Value]:
    shape = call.shape()
    kernel = call.attribute("kernel_shape", list)
    if not all(isinstance(side, int) for side in kernel) or not kernel:
        raise call.refuse("has no usable kernel_shape")
    out = (*shape[:2], *_window(call, shape, kernel))
    call.work += math.prod(out) * math.prod(kernel)
    return [Value(out)] * 2  # the second: where the maxima were


def _global_pool(call: Call) -> list[Value]:
    shape = call.shape()
    return [Value((*shape[:2], *(1 for _ in shape[2:])))]


def _matmul(call: Call) -> list[Value]:
    a, b = call.shape(0), call.shape(1)
    if not a or not b:
        raise call.refuse("multiplies a single number as a matrix")
    rows, columns = a[-2:-1], b[-1:] if len(b) > 1 else ()
    inner = b[-2] if len(b) > 1 else b[0]
    if a[-1] != inner:
        raise call.refuse(f"multiplies shapes that do not fit: {a}, {b}")
    out = (*broadcast(call, [a[:-2], b[:-2], ()]), *rows, *columns)
    call.work += math.prod(out) * inner
    return [Value(out)]


def _gemm(call: Call) -> list[Value]:
    a, b = call.shape(0), call.shape(1)
    if len(a) != 2 or len(b) != 2:
        raise call.refuse(f"multiplies shapes that do not fit: {a}, {b}")
    m, k = a[::-1] if call.attribute("transA", int, 0) else a
    inner, n = b[::-1] if call.attribute("transB", int, 0) else b
    if k != inner:
        raise call.refuse(f"multiplies shapes that do not fit: {a}, {b}")
    if call.has(2) and broadcast(call, [(m, n), call.shape(2)]) != (m, n):
        raise call.refuse(f"adds a value of shape {call.shape(2)} to one of shape {(m, n)}")
    call.work += m * n * k
    return [Value((m, n))]


RULES: dict[str, Callable[[Call], list[Value]]] = {
    "AveragePool": _pool,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_pool,
    "GlobalMaxPool": _global_pool,
    "MatMul": _matmul,
    "MaxPool": _pool,
}
