"""Fold a linear map of patch descriptors into the network: what runs is one map per level.

The descriptors are linear in each level: windows, pools and concatenation. So is f. Their product
is applied at each level's own resolution, as a depthwise convolution with the few 3x3 patterns that
the pools have, and a 1x1 convolution; the runtime resizes the levels and adds them
(``aggregation: sum``), which is linear too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pyad_edge.engine_manifest import Aggregation
from pyad_edge.errors import BackendError
from pyad_edge.export.backbones import Backbone
from pyad_edge.export.networks import require
from pyad_edge.ops.patch_aggregation import level_taps

__all__ = ["LevelMap", "fold", "level_maps"]

Matrix = NDArray[np.float64]


class LevelMap:
    """One level's share: ``mix @ (patterns per channel applied to the level)``.

    Attributes:
        patterns: (C, R, 3, 3) float64, R patterns for each channel; zeros where it has fewer.
        mix: (dim, C * R) float64.
    """

    def __init__(self, patterns: Matrix, mix: Matrix) -> None:
        self.patterns = patterns
        self.mix = mix


def level_maps(
    weight: NDArray[np.float32], channels: Sequence[int], aggregation: Aggregation
) -> list[LevelMap]:
    """The product of f and the aggregation, level by level.

    Args:
        weight: (dim, D), f.
        channels: of the levels.
        aggregation: whose descriptors have D values.

    Returns:
        One map per level.
    """
    f = weight.astype(np.float64)
    maps = []
    for index, C in enumerate(channels):
        dims, flat, taps = level_taps(
            index,
            channels,
            variant=aggregation.variant,
            pre_dim=aggregation.pre_dim,
            target_dim=aggregation.target_dim,
        )
        found: list[list[Matrix]] = [[] for _ in range(C)]
        shares: list[tuple[int, int, int, float]] = []  # dim, channel, pattern, factor
        channel = flat // 9
        # Entries are sorted by dim, then channel: one run of taps for each of their pairs.
        cuts = np.flatnonzero((np.diff(dims) != 0) | (np.diff(channel) != 0)) + 1
        for run in np.split(np.arange(len(dims)), cuts):
            c, stencil = int(channel[run[0]]), np.zeros(9)
            stencil[flat[run] % 9] = taps[run]
            factor = float(stencil.sum())
            unit = stencil / factor
            for r, known in enumerate(found[c]):  # noqa: B007 - the pattern's number is wanted
                if np.allclose(known, unit, rtol=0.0, atol=1e-12):
                    break
            else:
                r = len(found[c])
                found[c].append(unit)
            shares.append((int(dims[run[0]]), c, r, factor))
        R = max(len(patterns) for patterns in found)
        whole = np.zeros((C, R, 9))
        for c, patterns in enumerate(found):
            for r, unit in enumerate(patterns):
                whole[c, r] = unit
        mix = np.zeros((len(f), C * R))
        for d, c, r, factor in shares:
            mix[:, c * R + r] += f[:, d] * factor
        maps.append(LevelMap(whole.reshape(C, R, 3, 3), mix))
    return maps


def fold(backbone: Backbone, weight: NDArray[np.float32], aggregation: Aggregation) -> Backbone:
    """A backbone whose levels, resized and added, are f of the descriptors.

    Args:
        backbone: with the levels that f was learned on.
        weight: (dim, D) float32, f.
        aggregation: that f was learned on.

    Returns:
        The longer network: as many levels, each of ``dim`` channels.

    Raises:
        BackendError: if the onnx package is missing.
    """
    onnx = require("onnx")
    model = onnx.load_from_string(backbone.model)
    graph = model.graph
    taken = {name for node in graph.node for name in node.output}
    layers = []
    maps = level_maps(weight, backbone.channels, aggregation)
    for layer, C, level in zip(backbone.layers, backbone.channels, maps, strict=True):
        R, dim = level.patterns.shape[1], len(level.mix)
        names = {part: f"{layer}_f_{part}" for part in ("patterns", "windows", "mix", "mapped")}
        if taken & set(names.values()):
            raise BackendError(f"[reconpatch] {backbone.name} holds a folded map already.")
        windows = level.patterns.reshape(C * R, 1, 3, 3).astype(np.float32)
        mix = level.mix.reshape(dim, C * R, 1, 1).astype(np.float32)
        graph.initializer.append(onnx.numpy_helper.from_array(windows, names["patterns"]))
        graph.initializer.append(onnx.numpy_helper.from_array(mix, names["mix"]))
        graph.node.append(
            onnx.helper.make_node(
                "Conv",
                [layer, names["patterns"]],
                [names["windows"]],
                group=C,
                kernel_shape=[3, 3],
                pads=[1, 1, 1, 1],
            )
        )
        graph.node.append(
            onnx.helper.make_node(
                "Conv", [names["windows"], names["mix"]], [names["mapped"]], kernel_shape=[1, 1]
            )
        )
        layers.append(names["mapped"])
    sizes = {value.name: value for value in graph.output}
    outputs = []
    for layer, name, dim in zip(backbone.layers, layers, [len(m.mix) for m in maps], strict=True):
        axes = [
            axis.dim_param or axis.dim_value for axis in sizes[layer].type.tensor_type.shape.dim
        ]
        shape = [axes[0], dim, *axes[2:]] if len(axes) == 4 else None
        outputs.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape))
    del graph.output[:]
    graph.output.extend(outputs)
    onnx.checker.check_model(model, full_check=True)
    data = bytes(model.SerializeToString(deterministic=True))
    return replace(
        backbone,
        model=data,
        onnx_sha256=hashlib.sha256(data).hexdigest(),
        layers=tuple(layers),
        channels=tuple(len(m.mix) for m in maps),
    )
