"""What an engine with a cosine head must hold: ReContrast."""

from __future__ import annotations

from collections.abc import Mapping
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
from pyad_edge.engine_manifest import CosineHead, Manifest

__all__ = ["check_cosine", "check_cosine_contents"]


def check_cosine(manifest: Manifest) -> str | None:
    """Tensors, shapes and settings of a ReContrast engine that must agree with each other."""
    if not isinstance(manifest.head, CosineHead):
        return f"the method '{manifest.method}' needs cosine distances, not '{manifest.head.type}'"
    for name in ("index", "members", "fusion"):
        if getattr(manifest, name) is not None:
            return f"it has a field '{name}', which belongs to memory banks, but no memory bank"
    if manifest.training.coreset_ratio is not None:
        return "it has a coreset_ratio, but no memory bank"
    sizes, wrong = match_tensors(manifest, common_tensors(manifest))
    return (
        wrong
        or _check_pairs(manifest.head, len(manifest.backbone.outputs))
        or check_sizes(manifest.preprocessing, manifest.network)
        or check_networks(manifest)
        or check_calibration(manifest, sizes)
        or check_input(manifest, sizes)
        or check_golden(manifest, sizes)
    )


def check_cosine_contents(manifest: Manifest, tensors: Mapping[str, NDArray[Any]]) -> str | None:
    """Values of a ReContrast engine's tensors that the runtime relies on."""
    return (
        check_sorted(tensors)
        or check_refined_range(manifest, tensors)
        or check_input_contents(manifest, tensors)
    )


def _check_pairs(head: CosineHead, outputs: int) -> str | None:
    for encoder, decoder in head.pairs:
        if max(encoder, decoder) >= outputs:
            return f"its pair {(encoder, decoder)} points outside of its {outputs} outputs"
        if encoder == decoder:
            return f"its pair {(encoder, decoder)} compares an output with itself"
    if unread := set(range(outputs)) - {k for pair in head.pairs for k in pair}:
        return f"no pair reads its output {min(unread)}"
    return None
