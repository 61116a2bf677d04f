"""What one patch of a picture is correlated with, by a FOD engine: pictures for people."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyad_edge.backends.onnxruntime import OnnxRuntimeBackend
from pyad_edge.engine_manifest import CorrelationHead
from pyad_edge.errors import SettingError
from pyad_edge.export.networks import require
from pyad_edge.heads.correlation import reference_keys
from pyad_edge.overlay import Plane
from pyad_edge.result import Result
from pyad_edge.runtime import Runtime

__all__ = ["CorrelationView", "correlation_view"]

Array = NDArray[np.floating]
INTRA = ("intra_queries", "intra_keys")  # values that the network's file holds by name
LEVEL = 0  # the finest


def correlation_view(runtime: Runtime, patch: tuple[int, int] | None) -> CorrelationView | None:
    """The view of an engine; None where it has no correlations and nobody asked for a patch.

    Raises:
        SettingError: if a patch is named that the engine does not have.
        BackendError: if onnx is not installed.
    """
    head = runtime.engine.manifest.head
    if not isinstance(head, CorrelationHead):
        if patch is not None:
            raise SettingError(
                f"[eval] --patch shows what a patch is correlated with, but "
                f"{runtime.engine.path} compares no patches of one picture. Leave it out, or name "
                "an engine of 'train fod'."
            )
        return None
    h, w = head.levels[LEVEL].grid
    if patch is not None and not (patch[0] < h and patch[1] < w):
        raise SettingError(
            f"[eval] expected --patch within {h} rows and {w} columns, counted from 0, got "
            f"{patch[0]},{patch[1]}."
        )
    return CorrelationView(runtime, head, patch)


class CorrelationView:
    """Intra- and inter-correlation of a patch, means over the heads of all layers (Figure 4).

    The network runs a second time, with outputs that no score needs.

    Args:
        runtime: of the engine.
        head: of its manifest.
        patch: (row, column) on the finest level; none: where the map is highest.
    """

    def __init__(
        self, runtime: Runtime, head: CorrelationHead, patch: tuple[int, int] | None
    ) -> None:
        self._runtime, self._patch = runtime, patch
        level = head.levels[LEVEL]
        self.grid = level.grid
        model, intra = _with_names(bytes(runtime.engine.tensors["network/onnx"]))
        named = runtime.engine.manifest.backbone.outputs
        self._keys = reference_keys(head, runtime.engine.tensors)[LEVEL]
        self._inter = [named[i] for i in (level.queries, level.keys) if i is not None]
        self._intra = intra
        self._backend = OnnxRuntimeBackend(
            model, outputs=(*self._inter, *intra), input_size=runtime.pipeline.input_size
        )

    def planes(self, frame: NDArray[Any], result: Result) -> list[Plane]:
        """Panels for an overlay; a frame of several tiles has none.

        Args:
            frame: as the runtime takes it.
            result: of it.
        """
        pipeline = self._runtime.pipeline
        x = np.empty((1, 3, *pipeline.input_size), np.float32)
        pipeline.write_input(frame, out=x)
        row, column = self._patch or self._highest(result)
        found = self.correlations(x, (row, column))
        point = (column + 0.5, row + 0.5)
        return [
            Plane(f"{name}-correlation, up to {plane.max():.1%}", plane, point)
            for name, plane in found.items()
        ]

    def correlations(self, x: NDArray[np.float32], patch: tuple[int, int]) -> dict[str, Array]:
        """Distributions (h, w) over the patches, by name: ``intra`` and ``inter``, where there.

        Args:
            x: (1, 3, H, W), the network's input.
            patch: (row, column).
        """
        outputs = self._backend.run(x)
        inter, intra = outputs[: len(self._inter)], outputs[len(self._inter) :]
        index = patch[0] * self.grid[1] + patch[1]
        found = {}
        if intra:
            half = len(intra) // 2
            queries, keys = np.concatenate(intra[:half], 1), np.concatenate(intra[half:], 1)
            found["intra"] = _mean_attention(queries[0, :, index], keys[0]).reshape(self.grid)
        if inter:
            keys = self._keys if len(inter) == 1 and self._keys is not None else inter[-1][0]
            found["inter"] = _mean_attention(inter[0][0, :, index], keys).reshape(self.grid)
        return found

    def _highest(self, result: Result) -> tuple[int, int]:
        shape = result.anomaly_map.shape
        y, x = np.unravel_index(int(result.anomaly_map.argmax()), shape)
        return int(y) * self.grid[0] // shape[0], int(x) * self.grid[1] // shape[1]


def _mean_attention(query: Array, keys: Array) -> Array:
    """(L,) softmax of (heads, d) against (heads, L, d), mean over heads."""
    logits = np.einsum("hd,hld->hl", query.astype(np.float64), keys) / np.sqrt(query.shape[-1])
    share = np.exp(logits - logits.max(axis=-1, keepdims=True))
    share /= share.sum(axis=-1, keepdims=True)
    return np.asarray(share.mean(axis=0))


def _with_names(model: bytes) -> tuple[bytes, tuple[str, ...]]:
    """The network that also gives the finest level's intra-queries, then its intra-keys."""
    onnx = require("onnx", operation="eval")
    proto = onnx.load_from_string(model)
    made = {name for node in proto.graph.node for name in node.output}
    found: list[str] = []
    for kind in INTRA:
        layer = 0
        while (name := f"{kind}_{layer}_{LEVEL}") in made:
            found.append(name)
            layer += 1
    for name in found:
        proto.graph.output.append(onnx.helper.make_tensor_value_info(name, 1, None))
    return bytes(proto.SerializeToString()), tuple(found)
