"""ONNX operators as torch functions: those that convolutional backbones are made of.

Each entry takes torch and a node's attributes and gives a function of the node's inputs. An
operator, or a form of it, that is not here is refused by name when the network is opened; the
meaning of each is that of the ONNX operator specification, opset 11 to 21.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

__all__ = ["OPERATORS", "Attributes", "UnsupportedError"]

Attributes = Mapping[str, Any]
Function = Callable[..., Any]


class UnsupportedError(ValueError):
    """A form of an operator that has no entry; the message names it."""


def _padding(attributes: Attributes, spatial: int) -> tuple[list[int], list[int]]:
    """Padding before and after, by spatial axis."""
    mode = attributes.get("auto_pad", "NOTSET")
    if mode == "VALID":
        return [0] * spatial, [0] * spatial
    if mode != "NOTSET":
        raise UnsupportedError(f"auto_pad={mode}")
    pads = list(attributes.get("pads", [0] * (2 * spatial)))
    return pads[:spatial], pads[spatial:]


def _outer(torch: Any, x: Any, before: Sequence[int], after: Sequence[int], value: float) -> Any:
    """Pad the last two axes; torch lists the last axis first."""
    pads = [before[1], after[1], before[0], after[0]]
    return torch.nn.functional.pad(x, pads, value=value)


def _conv(torch: Any, attributes: Attributes) -> Function:
    before, after = _padding(attributes, 2)
    if len(attributes.get("kernel_shape", (1, 1))) != 2:
        raise UnsupportedError("other than two spatial axes")
    settings = {
        "stride": tuple(attributes.get("strides", (1, 1))),
        "dilation": tuple(attributes.get("dilations", (1, 1))),
        "groups": attributes.get("group", 1),
    }
    if before == after:
        return lambda x, w, b=None: torch.nn.functional.conv2d(
            x, w, b, padding=tuple(before), **settings
        )
    return lambda x, w, b=None: torch.nn.functional.conv2d(
        _outer(torch, x, before, after, 0.0), w, b, **settings
    )


def _pool_settings(attributes: Attributes) -> dict[str, Any]:
    return {
        "kernel_size": tuple(attributes["kernel_shape"]),
        "stride": tuple(attributes.get("strides", (1, 1))),
        "ceil_mode": bool(attributes.get("ceil_mode", 0)),
    }


def _max_pool(torch: Any, attributes: Attributes) -> Function:
    before, after = _padding(attributes, 2)
    settings = _pool_settings(attributes)
    settings["dilation"] = tuple(attributes.get("dilations", (1, 1)))
    kernel = settings["kernel_size"]
    if before == after and all(2 * p <= k for p, k in zip(before, kernel, strict=True)):
        return lambda x: torch.nn.functional.max_pool2d(x, padding=tuple(before), **settings)
    if settings["ceil_mode"]:
        raise UnsupportedError("ceil_mode with uneven pads")
    return lambda x: torch.nn.functional.max_pool2d(
        _outer(torch, x, before, after, float("-inf")), **settings
    )


def _average_pool(torch: Any, attributes: Attributes) -> Function:
    before, after = _padding(attributes, 2)
    settings = _pool_settings(attributes)
    counted = bool(attributes.get("count_include_pad", 0))
    if before != after:
        raise UnsupportedError("uneven pads")
    if tuple(attributes.get("dilations", (1, 1))) != (1, 1):
        raise UnsupportedError("dilations")
    return lambda x: torch.nn.functional.avg_pool2d(
        x, padding=tuple(before), count_include_pad=counted, **settings
    )


def _batch_normalization(torch: Any, attributes: Attributes) -> Function:
    if attributes.get("training_mode", 0):
        raise UnsupportedError("training_mode")
    epsilon = float(attributes.get("epsilon", 1e-5))
    return lambda x, scale, bias, mean, variance: torch.nn.functional.batch_norm(
        x, mean, variance, scale, bias, eps=epsilon
    )


def _clip(torch: Any, attributes: Attributes) -> Function:
    limits = attributes.get("min"), attributes.get("max")  # opset 6

    def clip(x: Any, low: Any = None, high: Any = None) -> Any:
        low, high = (
            given if given is not None else limit
            for given, limit in zip((low, high), limits, strict=True)
        )
        return torch.clamp(x, min=low, max=high) if (low, high) != (None, None) else x

    return clip


def _reduce_mean(torch: Any, attributes: Attributes) -> Function:
    stated, keep = attributes.get("axes"), bool(attributes.get("keepdims", 1))

    def mean(x: Any, axes: Any = None) -> Any:
        chosen = _whole(axes) if axes is not None else list(stated or range(x.ndim))
        return x.mean(dim=chosen, keepdim=keep)

    return mean


def _gemm(torch: Any, attributes: Attributes) -> Function:
    alpha, beta = float(attributes.get("alpha", 1.0)), float(attributes.get("beta", 1.0))
    turned = attributes.get("transA", 0), attributes.get("transB", 0)

    def gemm(a: Any, b: Any, c: Any = None) -> Any:
        a, b = (m.transpose(0, 1) if turn else m for m, turn in zip((a, b), turned, strict=True))
        product = torch.matmul(a, b)
        product = product if alpha == 1.0 else alpha * product
        return product if c is None else product + (c if beta == 1.0 else beta * c)

    return gemm


def _reshape(torch: Any, attributes: Attributes) -> Function:
    zero_is_zero = bool(attributes.get("allowzero", 0))

    def reshape(x: Any, shape: Any) -> Any:
        sides = _whole(shape)
        if not zero_is_zero:
            sides = [x.shape[axis] if side == 0 else side for axis, side in enumerate(sides)]
        return x.reshape(sides)

    return reshape


def _flatten(torch: Any, attributes: Attributes) -> Function:
    axis = int(attributes.get("axis", 1))

    def flatten(x: Any) -> Any:
        rows = 1
        for side in x.shape[:axis]:
            rows *= side
        return x.reshape(rows, -1)

    return flatten


def _pad(torch: Any, attributes: Attributes) -> Function:
    mode = attributes.get("mode", "constant")
    if mode not in ("constant", "edge"):
        raise UnsupportedError(f"mode={mode}")

    def pad(x: Any, pads: Any, value: Any = None, axes: Any = None) -> Any:
        amounts = _whole(pads)
        half = len(amounts) // 2
        of = [axis % x.ndim for axis in (_whole(axes) if axes is not None else range(half))]
        both = {axis: amounts[i] for i, axis in enumerate(of)}
        after = {axis: amounts[half + i] for i, axis in enumerate(of)}
        order = [
            n for axis in range(x.ndim - 1, -1, -1) for n in (both.get(axis, 0), after.get(axis, 0))
        ]
        while order[-2:] == [0, 0]:  # torch pads the last axes; leading ones stay as they are
            del order[-2:]
        if mode == "edge":  # of the last two axes, as torch has it
            return torch.nn.functional.pad(x, order, mode="replicate")
        return torch.nn.functional.pad(x, order, value=float(value) if value is not None else 0.0)

    return pad


def _slice(torch: Any, attributes: Attributes) -> Function:
    def cut(x: Any, starts: Any, ends: Any, axes: Any = None, steps: Any = None) -> Any:
        first, last = _whole(starts), _whole(ends)
        of = _whole(axes) if axes is not None else list(range(len(first)))
        by = _whole(steps) if steps is not None else [1] * len(first)
        for start, end, axis, step in zip(first, last, of, by, strict=True):
            positions = range(x.shape[axis])[slice(start, _open_end(end, step), step)]
            x = x.index_select(axis, torch.tensor(positions, dtype=torch.int64, device=x.device))
        return x

    return cut


def _open_end(end: int, step: int) -> int | None:
    """ONNX writes an open end as a number beyond any size; for negative steps far below zero."""
    return None if step < 0 and end <= -(2**31) else end


def _resize(torch: Any, attributes: Attributes) -> Function:
    mode = attributes.get("mode", "nearest")
    where = attributes.get("coordinate_transformation_mode", "half_pixel")
    rounding = attributes.get("nearest_mode", "round_prefer_floor")
    known = (
        (mode == "linear" and where in ("half_pixel", "pytorch_half_pixel", "align_corners"))
        or (mode == "nearest" and where == "asymmetric" and rounding == "floor")
    ) and not attributes.get("antialias", 0)
    if not known:
        raise UnsupportedError(f"mode={mode}, {where}, {rounding}")

    def resize(x: Any, roi: Any = None, scales: Any = None, sizes: Any = None) -> Any:
        if sizes is not None and sizes.numel():
            target = _whole(sizes)[2:]
        else:
            pairs = zip(x.shape[2:], scales.tolist()[2:], strict=True)
            target = [int(side * scale) for side, scale in pairs]
        if mode == "nearest":
            return torch.nn.functional.interpolate(x, size=target, mode="nearest")
        corners = where == "align_corners"
        return torch.nn.functional.interpolate(
            x, size=target, mode="bilinear", align_corners=corners
        )

    return resize


def _cast(torch: Any, attributes: Attributes) -> Function:
    types = {1: "float32", 6: "int32", 7: "int64", 9: "bool", 10: "float16", 11: "float64"}
    name = types.get(int(attributes["to"]))
    if name is None:
        raise UnsupportedError(f"to={attributes['to']}")
    return lambda x: x.to(getattr(torch, name))


def _constant(torch: Any, attributes: Attributes) -> Function:
    import_from = {"value_float": "float32", "value_floats": "float32"}
    (name,) = attributes
    value = attributes[name]
    if name == "value":
        return lambda: torch.from_numpy(value)
    if name not in (*import_from, "value_int", "value_ints"):
        raise UnsupportedError(name)
    return lambda: torch.tensor(value, dtype=getattr(torch, import_from.get(name, "int64")))


def _constant_of_shape(torch: Any, attributes: Attributes) -> Function:
    filled = torch.from_numpy(attributes["value"]) if "value" in attributes else torch.zeros(1)
    return lambda shape: filled.reshape(1).expand(_whole(shape) or [1]).reshape(_whole(shape))


def _gather(torch: Any, attributes: Attributes) -> Function:
    axis = int(attributes.get("axis", 0))

    def gather(x: Any, indices: Any) -> Any:
        taken = x.index_select(axis, (indices.reshape(-1) % x.shape[axis]).to(x.device))
        return taken.reshape([*x.shape[:axis], *indices.shape, *x.shape[axis % x.ndim + 1 :]])

    return gather


def _squeeze(torch: Any, attributes: Attributes) -> Function:
    stated = attributes.get("axes")

    def squeeze(x: Any, axes: Any = None) -> Any:
        chosen = _whole(axes) if axes is not None else stated
        return x.squeeze() if chosen is None else x.squeeze(tuple(chosen))

    return squeeze


def _unsqueeze(torch: Any, attributes: Attributes) -> Function:
    stated = attributes.get("axes")

    def unsqueeze(x: Any, axes: Any = None) -> Any:
        chosen = _whole(axes) if axes is not None else list(stated or ())
        for axis in sorted(a % (x.ndim + len(chosen)) for a in chosen):
            x = x.unsqueeze(axis)
        return x

    return unsqueeze


def _shape(torch: Any, attributes: Attributes) -> Function:
    part = slice(attributes.get("start", 0), attributes.get("end"))
    return lambda x: torch.tensor(tuple(x.shape)[part], dtype=torch.int64)


def _div(torch: Any, attributes: Attributes) -> Function:
    def div(a: Any, b: Any) -> Any:
        whole = not (a.is_floating_point() or b.is_floating_point())
        return torch.div(a, b, rounding_mode="trunc") if whole else a / b

    return div


def _layer_norm(torch: Any, attributes: Attributes) -> Function:
    """Over the last axes, as many as the scale has."""
    epsilon = float(attributes.get("epsilon", 1e-5))

    def norm(x: Any, scale: Any, bias: Any = None) -> Any:
        axis = int(attributes.get("axis", -1)) % x.dim()
        return torch.nn.functional.layer_norm(x, x.shape[axis:], scale, bias, epsilon)

    return norm


def _of(name: str) -> Callable[[Any, Attributes], Function]:
    """An entry for an operator that torch has under this name, without attributes."""

    def entry(torch: Any, attributes: Attributes) -> Function:
        found = torch
        for part in name.split("."):
            found = getattr(found, part)
        function: Function = found
        return function

    return entry


def _whole(values: Any) -> list[int]:
    """A small integer tensor as a list."""
    return [int(value) for value in values.reshape(-1).tolist()]


OPERATORS: dict[str, Callable[[Any, Attributes], Function]] = {
    "Add": _of("add"),
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_normalization,
    "Cast": _cast,
    "Ceil": _of("ceil"),
    "Clip": _clip,
    "Concat": lambda torch, a: lambda *parts: torch.cat(parts, dim=int(a["axis"])),
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Conv": _conv,
    "Div": _div,
    "Elu": lambda torch, a: lambda x: torch.nn.functional.elu(x, alpha=float(a.get("alpha", 1.0))),
    "Erf": _of("erf"),
    "Exp": _of("exp"),
    "Flatten": _flatten,
    "Floor": _of("floor"),
    "Gather": _gather,
    "Gemm": _gemm,
    "GlobalAveragePool": lambda torch, a: lambda x: x.mean(dim=(2, 3), keepdim=True),
    "HardSigmoid": lambda torch, a: (
        lambda x: (x * float(a.get("alpha", 0.2)) + float(a.get("beta", 0.5))).clamp(0.0, 1.0)
    ),
    "HardSwish": _of("nn.functional.hardswish"),
    "Identity": lambda torch, a: lambda x: x,
    "LayerNormalization": _layer_norm,
    "LeakyRelu": lambda torch, a: (
        lambda x: torch.nn.functional.leaky_relu(x, float(a.get("alpha", 0.01)))
    ),
    "MatMul": _of("matmul"),
    "Max": lambda torch, a: lambda *parts: functools.reduce(torch.maximum, parts),
    "MaxPool": _max_pool,
    "Mul": _of("mul"),
    "Pad": _pad,
    "Pow": _of("pow"),
    "ReduceMean": _reduce_mean,
    "Relu": _of("relu"),
    "Reshape": _reshape,
    "Resize": _resize,
    "Shape": _shape,
    "Sigmoid": _of("sigmoid"),
    "Slice": _slice,
    "Softmax": lambda torch, a: lambda x: torch.softmax(x, dim=int(a.get("axis", -1))),
    "Softplus": lambda torch, a: lambda x: torch.nn.functional.softplus(x),
    "Sqrt": _of("sqrt"),
    "Squeeze": _squeeze,
    "Sub": _of("sub"),
    "Tanh": _of("tanh"),
    "Transpose": lambda torch, a: (
        lambda x: x.permute(tuple(a.get("perm", range(x.ndim - 1, -1, -1))))
    ),
    "Unsqueeze": _unsqueeze,
}
