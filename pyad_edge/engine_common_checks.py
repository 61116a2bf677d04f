"""Checks that engines of every method share: tensor table, sizes, calibration, refinement.

All return what is wrong as half a sentence, or None.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from numpy.typing import NDArray

from pyad_edge.engine_input import input_tensors
from pyad_edge.engine_manifest import Manifest, Network, Preprocessing

__all__ = [
    "REFINEMENT",
    "TensorForms",
    "check_calibration",
    "check_networks",
    "check_refined_range",
    "check_sizes",
    "check_sorted",
    "common_tensors",
    "match_tensors",
]

# name -> (dtype, shape); a letter that appears twice must mean the same number.
TensorForms: TypeAlias = dict[str, tuple[str, tuple[str | int, ...]]]

REFINEMENT = "refinement/onnx"
_ROUNDING = 1e-6  # by which smoothing may leave the range of a refined map

_TENSORS: TensorForms = {
    "calibration/map_maxima": ("float32", ("n",)),
    "calibration/scores": ("float32", ("n",)),
    "golden/scores": ("float32", ("G",)),
    "network/onnx": ("uint8", ("bytes of model",)),
}


def common_tensors(manifest: Manifest) -> TensorForms:
    """Dtypes and shapes of the tensors that every method has."""
    forms = _TENSORS | input_tensors(manifest)
    if manifest.refinement is not None:
        forms[REFINEMENT] = ("uint8", ("bytes of refinement",))
    return forms


def match_tensors(manifest: Manifest, expected: TensorForms) -> tuple[dict[str, int], str | None]:
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


def check_sizes(preprocessing: Preprocessing, network: Network) -> str | None:
    """What the preprocessing gives against what the network takes."""
    resize, crop = preprocessing.resize, preprocessing.crop
    height, width = size = network.input_size
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
    grid = network.grid
    if grid[0] > height or grid[1] > width:
        return f"its grid {grid} is finer than its network's input {size}"
    return None


def check_networks(manifest: Manifest) -> str | None:
    """The networks are those that the manifest names by their hash."""
    if manifest.backbone.onnx_sha256 != manifest.tensors["network/onnx"].sha256:
        return "its network is not the one that its manifest names"
    refinement = manifest.refinement
    if refinement is None or refinement.onnx_sha256 == manifest.tensors[REFINEMENT].sha256:
        return None
    return "its refinement network is not the one that its manifest names"


def check_calibration(manifest: Manifest, sizes: Mapping[str, int]) -> str | None:
    """As many calibration scores as pictures."""
    if sizes["n"] != manifest.training.calibration_pictures:
        return (
            f"it holds {sizes['n']} calibration scores, "
            f"but was calibrated on {manifest.training.calibration_pictures} pictures"
        )
    return None


def check_sorted(tensors: Mapping[str, NDArray[Any]]) -> str | None:
    """Calibration scores ascend: p-values are found by bisection."""
    for name in ("calibration/scores", "calibration/map_maxima"):
        scores = tensors[name]
        if (scores[1:] < scores[:-1]).any():  # a difference of two could overflow
            return f"the tensor '{name}' is not sorted"
    return None


def check_refined_range(manifest: Manifest, tensors: Mapping[str, NDArray[Any]]) -> str | None:
    """What comes from a refined map lies between 0 and 1, as the map does."""
    refinement = manifest.refinement
    if refinement is None:
        return None
    refined = ["calibration/map_maxima"]
    if refinement.score == "maximum":
        refined += ["calibration/scores", "golden/scores"]
    for name in refined:
        if tensors[name].min() < -_ROUNDING or tensors[name].max() > 1 + _ROUNDING:
            return f"the tensor '{name}' leaves the range of a refined map, 0 to 1"
    return None
