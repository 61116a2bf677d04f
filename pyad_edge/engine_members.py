"""Parts of a manifest from format 4 on: members of an ensemble, their fusion, a refinement."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from pyad_edge.engine_fields import (
    Positive,
    Scalar,
    Sha256,
    Side,
    Size,
    Smoothing,
    StrictModel,
    Text,
)
from pyad_edge.engine_heads import MemoryBankHead

__all__ = [
    "MAX_MEMBERS",
    "MODIFIED_Z_BETA",
    "AnomalyMap",
    "Backbone",
    "Fusion",
    "Member",
    "Network",
    "Preprocessing",
    "Refinement",
    "member_tensor",
]

MAX_MEMBERS = 16  # of an ensemble, the first included
MODIFIED_Z_BETA = 1.4826  # ReConPatch (Hyun et al., 2024), eq. 11: 1 / the normal quantile of 3/4

# Where scores come from, and by what they are divided: numbers that keep float32 scores finite.
_Centre: TypeAlias = Annotated[float, Field(ge=-1e30, le=1e30)]
_Spread: TypeAlias = Annotated[float, Field(ge=1e-12, le=1e30)]
_Centres: TypeAlias = Annotated[tuple[_Centre, ...], Field(min_length=2, max_length=MAX_MEMBERS)]
_Spreads: TypeAlias = Annotated[tuple[_Spread, ...], Field(min_length=2, max_length=MAX_MEMBERS)]


class Backbone(StrictModel):
    """The network and where it comes from."""

    name: Text
    weights_sha256: Sha256 | None  # None: the ONNX file came without a record of its weights
    onnx_sha256: Sha256  # of the tensor network/onnx
    outputs: Annotated[tuple[Text, ...], Field(min_length=1, max_length=16)]


class Preprocessing(StrictModel):
    """Arguments of the ``preprocess`` kernel."""

    resize: Size | Side  # (height, width), or the shorter side
    crop: Size | None
    mean: tuple[float, float, float]  # RGB, on the 0..1 scale
    std: tuple[Positive, Positive, Positive]
    color_order: Literal["rgb", "bgr"]  # of the frames that come in


class Network(StrictModel):
    """Sizes that the network fixes."""

    input_size: Size  # after resize and crop
    grid: Size  # patches per picture


class AnomalyMap(StrictModel):
    """Arguments of the ``anomaly_map`` kernel."""

    sigma: Smoothing


class Member(StrictModel):
    """One network of an ensemble with its bank, as the top-level fields describe the first."""

    name: Text
    backbone: Backbone
    preprocessing: Preprocessing
    network: Network
    head: MemoryBankHead
    anomaly_map: AnomalyMap
    training_settings: dict[str, Scalar]


class Fusion(StrictModel):
    """How the scores of an ensemble's members become one: the mean of modified z-scores.

    ``z = (s - median) / (beta * mad)`` of each member, ReConPatch eq. 11; ``median`` and ``mad``
    (the median of ``|s - median|``) are of the scores of normal pictures held out of the fit. The
    maps are fused by the same rule with statistics of their own values. One entry per member.
    """

    beta: Annotated[float, Field(ge=0.1, le=10)]
    median: _Centres
    mad: _Spreads
    map_median: _Centres
    map_mad: _Spreads


class Refinement(StrictModel):
    """A network that draws an engine's anomaly map again, as its last stage.

    Its input ``input`` is (1, 1 or 4, H, W) float32: (map - offset) / scale, then the preprocessed
    picture where ``picture`` is set. Its output ``map`` is (1, 1, H, W) float32 from 0 to 1.
    """

    onnx_sha256: Sha256  # of the tensor refinement/onnx
    scale: _Spread
    offset: _Centre
    picture: bool  # whether the network sees the picture beside the map
    score: Literal["maximum", "keep"]  # the picture's: of the refined map, or as it was
    sigma: Smoothing  # of the Gaussian over the refined map; 0 leaves it as the network gave it


def member_tensor(member: int, name: str) -> str:
    """Name of a tensor of one member; those of the first have no prefix."""
    return name if member == 0 else f"members/{member}/{name}"
