"""What an engine must hold whose patches are correlated with each other or a reference: FOD."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from pyad_edge.engine_common_checks import (
    TensorForms,
    check_calibration,
    check_networks,
    check_refined_range,
    check_sizes,
    check_sorted,
    common_tensors,
    match_tensors,
)
from pyad_edge.engine_input import check_golden, check_input, check_input_contents
from pyad_edge.engine_manifest import CorrelationHead, Manifest

__all__ = ["check_correlation", "check_correlation_contents"]


def check_correlation(manifest: Manifest) -> str | None:
    """Tensors, shapes and settings of a FOD engine that must agree with each other."""
    head = manifest.head
    if not isinstance(head, CorrelationHead):
        return f"the method '{manifest.method}' needs correlations, not '{head.type}'"
    for name in ("index", "members", "fusion"):
        if getattr(manifest, name) is not None:
            return f"it has a field '{name}', which belongs to memory banks, but no memory bank"
    if manifest.training.coreset_ratio is not None:
        return "it has a coreset_ratio, but no memory bank"
    forms = common_tensors(manifest)
    if wrong := _check_levels(head, len(manifest.backbone.outputs)) or _check_grids(manifest, head):
        return wrong
    sizes, wrong = match_tensors(manifest, forms | _keys(head))
    return (
        wrong
        or check_sizes(manifest.preprocessing, manifest.network)
        or check_networks(manifest)
        or check_calibration(manifest, sizes)
        or check_input(manifest, sizes)
        or check_golden(manifest, sizes)
    )


def check_correlation_contents(
    manifest: Manifest, tensors: Mapping[str, NDArray[Any]]
) -> str | None:
    """Values of a FOD engine's tensors that the runtime relies on."""
    for name in ("calibration/scores", "calibration/map_maxima", "golden/scores"):
        if tensors[name].min() < 0.0:
            return f"the tensor '{name}' has values below 0, which no error or divergence has"
    return (
        check_sorted(tensors)
        or check_refined_range(manifest, tensors)
        or check_input_contents(manifest, tensors)
    )


def _keys(head: CorrelationHead) -> TensorForms:
    """Keys of the levels whose reference does not depend on the picture."""
    return {
        f"reference/keys/{k}": (
            "float32",
            (f"heads {k}", level.grid[0] * level.grid[1], f"dims {k}"),
        )
        for k, level in enumerate(head.levels)
        if level.queries is not None and level.keys is None
    }


def _check_levels(head: CorrelationHead, outputs: int) -> str | None:
    read: list[int] = []
    for k, level in enumerate(head.levels):
        correlated = level.queries is not None
        if correlated != (level.sigmas is not None) or (level.keys is not None and not correlated):
            return f"its level {k} has not all of queries, sigmas and keys"
        if correlated != (head.score != "rec") or (level.errors is None) != (head.score == "div"):
            return f"its level {k} has not what the score '{head.score}' is made of"
        own = (level.errors, level.queries, level.sigmas, level.keys)
        read += [index for index in own if index is not None]
    if sorted(read) != list(range(outputs)):
        return f"its levels read the outputs {sorted(read)} of {outputs}, not each of them once"
    return None


def _check_grids(manifest: Manifest, head: CorrelationHead) -> str | None:
    """Softmax and calibration hold for one number of patches: that of the picture's size."""
    H, W = manifest.network.input_size
    for level in head.levels:
        h, w = level.grid
        if H % h or W % w or H // h != W // w:
            return f"its correlations are of {h} x {w} patches, but its network takes {H} x {W}"
    if head.levels[0].grid != manifest.network.grid:
        return f"its grid {manifest.network.grid} is not that of its first level"
    return None
