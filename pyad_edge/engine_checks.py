"""What an engine of each method must hold, beyond the file format.

``structure`` looks at the manifest alone, before any tensor is touched; ``contents`` at tensors
whose SHA-256 has been checked. Both return what is wrong as half a sentence, or None.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyad_edge.engine_format import decode_names
from pyad_edge.engine_input import (
    check_golden,
    check_input,
    check_input_contents,
    input_tensors,
    patch_limits,
)
from pyad_edge.engine_manifest import Manifest
from pyad_edge.heads.ivfpq_layout import IvfPqLayout, check_index

__all__ = ["METHODS", "MethodChecks", "check_patchcore", "check_patchcore_contents"]

# name -> (dtype, shape); a letter that appears twice must mean the same number.
_PATCHCORE_TENSORS: dict[str, tuple[str, tuple[str | int, ...]]] = {
    "bank/features": ("float32", ("M", "D")),
    "bank/pictures": ("uint8", ("bytes of names",)),
    "bank/sources": ("int32", ("M", 3)),
    "calibration/map_maxima": ("float32", ("n",)),
    "calibration/scores": ("float32", ("n",)),
    "golden/scores": ("float32", ("G",)),
    "network/onnx": ("uint8", ("bytes of model",)),
}


def check_patchcore(manifest: Manifest) -> str | None:
    """Tensors, shapes and settings of a PatchCore engine that must agree with each other."""
    expected = _PATCHCORE_TENSORS | input_tensors(manifest)
    if manifest.index is not None:
        expected["index/faiss"] = ("uint8", ("bytes of index",))
    sizes, wrong = _match_tensors(manifest, expected)
    return (
        wrong
        or _check_sizes(manifest)
        or _check_head(manifest, sizes)
        or _check_index(manifest, sizes)
        or check_input(manifest, sizes)
        or check_golden(manifest, sizes)
    )


def check_patchcore_contents(manifest: Manifest, tensors: Mapping[str, NDArray[Any]]) -> str | None:
    """Values of a PatchCore engine's tensors that the runtime relies on."""
    try:
        names = decode_names(tensors["bank/pictures"])
    except ValueError as error:
        return f"the tensor 'bank/pictures' is not a list of names ({error})"
    if len(names) != manifest.training.pictures:
        return f"it names {len(names)} pictures, but was fitted on {manifest.training.pictures}"
    sources = tensors["bank/sources"]
    limits = np.array((len(names), *patch_limits(manifest)))
    if (sources < 0).any() or (sources >= limits).any():
        return "the tensor 'bank/sources' points outside of its pictures"
    for name in ("calibration/scores", "calibration/map_maxima"):
        if (np.diff(tensors[name]) < 0).any():
            return f"the tensor '{name}' is not sorted"
    if wrong := check_input_contents(manifest, tensors):
        return wrong
    if manifest.index is None:
        return None
    return check_index(tensors["index/faiss"], _layout(manifest, tensors["bank/features"].shape))


@dataclass(frozen=True)
class MethodChecks:
    """The two checks of one method."""

    structure: Callable[[Manifest], str | None]
    contents: Callable[[Manifest, Mapping[str, NDArray[Any]]], str | None]


METHODS: Mapping[str, MethodChecks] = {
    "patchcore": MethodChecks(check_patchcore, check_patchcore_contents),
}


def _match_tensors(
    manifest: Manifest, expected: Mapping[str, tuple[str, tuple[str | int, ...]]]
) -> tuple[dict[str, int], str | None]:
    """Compare the tensor table with the expected one; the letters' values come back."""
    sizes: dict[str, int] = {}
    for name in sorted(manifest.tensors.keys() ^ expected.keys()):
        state = "lacks" if name in expected else "has an unknown"
        return sizes, f"it {state} tensor '{name}'"
    for name, (dtype, shape) in expected.items():
        entry = manifest.tensors[name]
        agrees = entry.dtype == dtype and len(entry.shape) == len(shape)
        for wanted, found in zip(shape, entry.shape, strict=False):
            known = wanted if isinstance(wanted, int) else sizes.setdefault(wanted, found)
            agrees = agrees and known == found
        if not agrees:
            letters = ", ".join(
                f"{letter} = {sizes[letter]}" if letter in sizes else str(letter)
                for letter in map(str, shape)
            )
            return sizes, (
                f"the tensor '{name}' should be {dtype} of shape ({letters}), "
                f"but is {entry.dtype} of shape {entry.shape}"
            )
    return sizes, None


def _check_sizes(manifest: Manifest) -> str | None:
    resize, crop = manifest.preprocessing.resize, manifest.preprocessing.crop
    height, width = size = manifest.network.input_size
    if crop is not None:
        if isinstance(resize, int):  # the shorter side; the longer one depends on the frame
            fits = min(crop) <= resize
        else:
            fits = crop[0] <= resize[0] and crop[1] <= resize[1]
        if not fits:
            return f"its crop {crop} is larger than its resized picture ({resize})"
        agrees = size == crop
    elif isinstance(resize, int):
        return (
            f"its resize ({resize}) sets only the shorter side, and no crop fixes the other, so "
            "its patches would depend on the frame"
        )
    else:
        agrees = size == resize
    if not agrees:
        return f"its network takes {size}, but its preprocessing gives {crop or resize}"
    grid = manifest.network.grid
    if grid[0] > height or grid[1] > width:
        return f"its grid {grid} is finer than its network's input {size}"
    return None


def _check_head(manifest: Manifest, sizes: Mapping[str, int]) -> str | None:
    head, aggregation = manifest.memory_bank, manifest.memory_bank.aggregation
    if manifest.backbone.onnx_sha256 != manifest.tensors["network/onnx"].sha256:
        return "its network is not the one that its manifest names"
    if sizes["n"] != manifest.training.calibration_pictures:
        return (
            f"it holds {sizes['n']} calibration scores, "
            f"but was calibrated on {manifest.training.calibration_pictures} pictures"
        )
    if head.neighbors > sizes["M"]:
        return f"it asks for {head.neighbors} neighbours in a bank of {sizes['M']} rows"
    dims = (aggregation.pre_dim, aggregation.target_dim)
    if aggregation.variant == "average" and dims != (None, None):
        return "its 'average' aggregation has dimensions, which only 'official' takes"
    if aggregation.variant == "official" and (dims[0] is None or dims[1] != sizes["D"]):
        return f"its aggregation gives {dims[1]} dimensions, but its bank has {sizes['D']}"
    return None


def _check_index(manifest: Manifest, sizes: Mapping[str, int]) -> str | None:
    """The index by its declared numbers alone: they fix how many bytes it has."""
    index = manifest.index
    if index is None:
        return None
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
