"""What an engine must hold whose network gives the score map itself: GRAD."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from numpy.typing import NDArray

from pyad_edge.engine_common_checks import (
    check_calibration,
    check_networks,
    check_refined_range,
    check_sizes,
    check_sorted,
    common_tensors,
    match_tensors,
)
from pyad_edge.engine_input import check_golden, check_input, check_input_contents
from pyad_edge.engine_manifest import Manifest, ScoreMapHead

__all__ = ["check_score_map", "check_score_map_contents"]


def check_score_map(manifest: Manifest) -> str | None:
    """Tensors, shapes and settings of a GRAD engine that must agree with each other."""
    if not isinstance(manifest.head, ScoreMapHead):
        return f"the method '{manifest.method}' needs a score map, not '{manifest.head.type}'"
    for name in ("index", "members", "fusion"):
        if getattr(manifest, name) is not None:
            return f"it has a field '{name}', which belongs to memory banks, but no memory bank"
    if manifest.training.coreset_ratio is not None:
        return "it has a coreset_ratio, but no memory bank"
    if (count := len(manifest.backbone.outputs)) != 1:
        return f"its network has {count} outputs, but a score map is one"
    levels = manifest.head.levels
    if any(a >= b for a, b in pairwise(levels)):
        return f"its levels {levels} do not ascend"
    sizes, wrong = match_tensors(manifest, common_tensors(manifest))
    return (
        wrong
        or check_sizes(manifest.preprocessing, manifest.network)
        or check_networks(manifest)
        or check_calibration(manifest, sizes)
        or check_input(manifest, sizes)
        or check_golden(manifest, sizes)
    )


def check_score_map_contents(manifest: Manifest, tensors: Mapping[str, NDArray[Any]]) -> str | None:
    """Values of a GRAD engine's tensors that the runtime relies on."""
    for name in ("calibration/scores", "calibration/map_maxima", "golden/scores"):
        if tensors[name].min() < 0.0:
            return f"the tensor '{name}' has values below 0, which no score map has"
    return (
        check_sorted(tensors)
        or check_refined_range(manifest, tensors)
        or check_input_contents(manifest, tensors)
    )
