"""What an engine with a memory bank must hold: PatchCore and ReConPatch, ensembles included."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
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
from pyad_edge.engine_ensemble_checks import check_ensemble, ensemble_tensors
from pyad_edge.engine_format import decode_names
from pyad_edge.engine_input import check_golden, check_input, check_input_contents, patch_limits
from pyad_edge.engine_manifest import Manifest, MemoryBankHead, member_tensor
from pyad_edge.heads.ivfpq_layout import IvfPqLayout, check_index

__all__ = ["check_bank_head", "check_memory_bank", "check_memory_bank_contents"]

_TENSORS: TensorForms = {
    "bank/features": ("float32", ("M", "D")),
    "bank/pictures": ("uint8", ("bytes of names",)),
    "bank/sources": ("int32", ("M", 3)),
}


def check_memory_bank(manifest: Manifest) -> str | None:
    """Tensors, shapes and settings of a memory-bank engine that must agree with each other."""
    if not isinstance(manifest.head, MemoryBankHead):
        return f"the method '{manifest.method}' needs a memory bank, not '{manifest.head.type}'"
    if manifest.training.coreset_ratio is None:
        return "it has a memory bank, but no coreset_ratio says how that was made"
    expected = _TENSORS | common_tensors(manifest) | ensemble_tensors(manifest)
    if manifest.index is not None:
        expected["index/faiss"] = ("uint8", ("bytes of index",))
    sizes, wrong = match_tensors(manifest, expected)
    return (
        wrong
        or check_sizes(manifest.preprocessing, manifest.network)
        or check_networks(manifest)
        or check_calibration(manifest, sizes)
        or check_bank_head(manifest.head, sizes["M"], sizes["D"])
        or _check_variant(manifest)
        or check_ensemble(manifest, sizes, check_head=check_bank_head)
        or _check_index(manifest, sizes)
        or check_input(manifest, sizes)
        or check_golden(manifest, sizes)
    )


def check_memory_bank_contents(
    manifest: Manifest, tensors: Mapping[str, NDArray[Any]]
) -> str | None:
    """Values of a memory-bank engine's tensors that the runtime relies on."""
    try:
        names = decode_names(tensors["bank/pictures"])
    except ValueError as error:
        return f"the tensor 'bank/pictures' is not a list of names ({error})"
    if len(names) != manifest.training.pictures:
        return f"it names {len(names)} pictures, but was fitted on {manifest.training.pictures}"
    for i, member in enumerate(manifest.all_members):
        name = member_tensor(i, "bank/sources")
        limits = np.array((len(names), *patch_limits(manifest, member.network.grid)))
        if (tensors[name] < 0).any() or (tensors[name] >= limits).any():
            return f"the tensor '{name}' points outside of its pictures"
    if wrong := (
        check_sorted(tensors)
        or check_refined_range(manifest, tensors)
        or check_input_contents(manifest, tensors)
    ):
        return wrong
    if manifest.index is None:
        return None
    return check_index(tensors["index/faiss"], _layout(manifest, tensors["bank/features"].shape))


def check_bank_head(head: MemoryBankHead, M: int, D: int) -> str | None:
    """A head against its bank of M rows of D dimensions."""
    aggregation = head.aggregation
    if head.neighbors > M:
        return f"it asks for {head.neighbors} neighbours in a bank of {M} rows"
    dims = (aggregation.pre_dim, aggregation.target_dim)
    if aggregation.variant != "official" and dims != (None, None):
        return (
            f"its '{aggregation.variant}' aggregation has dimensions, which only 'official' takes"
        )
    if aggregation.variant == "official" and (dims[0] is None or dims[1] != D):
        return f"its aggregation gives {dims[1]} dimensions, but its bank has {D}"
    return None


def _check_variant(manifest: Manifest) -> str | None:
    variant = manifest.memory_bank.aggregation.variant
    if manifest.method == "reconpatch" and variant != "sum":
        return (
            f"a 'reconpatch' network holds its linear map, so its levels are added ('sum'), not "
            f"aggregated as '{variant}'"
        )
    return None


def _check_index(manifest: Manifest, sizes: Mapping[str, int]) -> str | None:
    """The index by its declared numbers alone: they fix how many bytes it has."""
    index = manifest.index
    if index is None:
        return None
    if manifest.members is not None:
        return "an ensemble searches its banks exactly, but it has an index"
    M, D = sizes["M"], sizes["D"]
    if D % index.m:
        return f"its index cuts {D} dimensions into {index.m} equal parts, which do not exist"
    if index.nlist > M or index.nprobe > index.nlist:
        return f"its index searches {index.nprobe} of {index.nlist} lists, in a bank of {M:,} rows"
    neighbors = manifest.memory_bank.neighbors
    if not neighbors <= index.candidates <= M:
        return (
            f"its index gives {index.candidates} candidates, for {neighbors} "
            f"neighbours in a bank of {M:,} rows"
        )
    size = _layout(manifest, (M, D)).size
    if sizes["bytes of index"] != size:
        return f"its index should have {size:,} bytes, but has {sizes['bytes of index']:,}"
    return None


def _layout(manifest: Manifest, bank: tuple[int, ...]) -> IvfPqLayout:
    index = manifest.index
    if index is None:
        raise ValueError("[engine] this engine has no index.")
    return IvfPqLayout(M=bank[0], D=bank[1], nlist=index.nlist, m=index.m, nbits=index.nbits)
