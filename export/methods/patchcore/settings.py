"""Settings of a PatchCore fit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pyad_edge.errors import SettingError

__all__ = ["PatchCoreSettings", "faults", "make_settings"]

NO_NAMES: Mapping[str, str] = MappingProxyType({})
Side = Annotated[int, Field(ge=32, le=4096)]


class PatchCoreSettings(BaseModel):
    """What a fit needs to know besides the pictures and the backbone.

    Attributes:
        resize: (height, width) that every picture is resized to, or the shorter side (with a crop).
        crop: centre crop (height, width) after resizing, or None.
        aggregation: ``official`` (paper and official code), ``average`` (plain 3x3 mean, channels
            concatenated) or ``sum`` (of a network that ends in a folded linear map).
        pre_dim, target_dim: dimensions of the official embedding; None: the sum of the levels'
            channels, at most 1024.
        coreset: share of all patches kept, 0 < ratio <= 1 (1: no selection).
        scoring: ``reweighted`` (paper, eq. 7) or ``maximum`` (official code: squared distance).
        neighbors: b of eq. 7. The paper does not give it; 9 is what public code uses.
        sigma: of the map's Gaussian, in pixels of the network's input.
        holdout: share of the good pictures kept out of the bank, for calibration.
        false_reject: target rate of rejected normal parts.
        seed: of the hold-out, the projection and the coreset's start.
        projection_dim: dimensions in which the coreset is selected.
        index: ``ivfpq``: approximate search of a bank that is not subsampled; None: exact search.
        nlist, pq_m, pq_nbits, nprobe, candidates: of the index; None: defaults of ``index.py``.
        memory_limit: bytes the fit may use, or None for 60 % of what is free.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    resize: tuple[Side, Side] | Side = (256, 256)
    crop: tuple[Side, Side] | None = None
    aggregation: Literal["official", "average", "sum"] = "official"
    pre_dim: Annotated[int, Field(ge=1, le=16384)] | None = None
    target_dim: Annotated[int, Field(ge=1, le=16384)] | None = None
    coreset: Annotated[float, Field(gt=0, le=1)] = 0.01
    scoring: Literal["reweighted", "maximum"] = "reweighted"
    neighbors: Annotated[int, Field(ge=2, le=1024)] = 9
    sigma: Annotated[float, Field(ge=0, le=256)] = 4.0
    holdout: Annotated[float, Field(ge=0, lt=1)] = 0.2
    false_reject: Annotated[float, Field(gt=0, le=0.5)] = 0.001
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    projection_dim: Annotated[int, Field(ge=1, le=4096)] = 128
    index: Literal["ivfpq"] | None = None
    nlist: Annotated[int, Field(ge=1, le=1 << 20)] | None = None
    pq_m: Annotated[int, Field(ge=1, le=16384)] | None = None
    pq_nbits: Annotated[int, Field(ge=4, le=8)] | None = None
    nprobe: Annotated[int, Field(ge=1, le=1 << 20)] | None = None
    candidates: Annotated[int, Field(ge=1, le=2048)] | None = None
    memory_limit: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _sizes_agree(self) -> PatchCoreSettings:
        if isinstance(self.resize, int) and self.crop is None:
            raise ValueError(
                "resizing the shorter side needs a crop, so that all pictures have one size"
            )
        sides = (self.resize, self.resize) if isinstance(self.resize, int) else self.resize
        if self.crop is not None and (self.crop[0] > sides[0] or self.crop[1] > sides[1]):
            raise ValueError(
                f"the crop {self.crop} is larger than the resized picture {self.resize}"
            )
        if self.aggregation != "official" and (self.pre_dim or self.target_dim):
            raise ValueError(
                f"the aggregation '{self.aggregation}' has no dimensions to choose; leave them out"
            )
        self._check_index()
        return self

    def _check_index(self) -> None:
        chosen = (self.nlist, self.pq_m, self.pq_nbits, self.nprobe, self.candidates)
        if self.index is None and chosen != (None,) * 5:
            raise ValueError("nlist, pq_m, pq_nbits, nprobe and candidates need the index 'ivfpq'")
        if self.index is not None and self.coreset < 1:
            raise ValueError(
                "the approximate index is for banks that are not subsampled, so it needs a coreset "
                f"of 1, got {self.coreset:g}; a coreset is searched exactly"
            )


def make_settings(
    *, option_names: Mapping[str, str] = NO_NAMES, **values: object
) -> PatchCoreSettings:
    """Settings from plain values, with errors as sentences.

    Args:
        option_names: what the user knows a setting as, where that is not its name here.
        values: see PatchCoreSettings.

    Raises:
        SettingError: names every value that cannot be used.
    """
    try:
        return PatchCoreSettings(**values)  # type: ignore[arg-type]
    except ValidationError as error:
        found = "; ".join(faults(error, option_names))
        raise SettingError(f"[patchcore] settings that cannot be used: {found}.") from None


def faults(error: ValidationError, option_names: Mapping[str, str]) -> list[str]:
    """One phrase for each value, though a side may fail both as a side and as a pair of them."""
    phrases: dict[str, str] = {}
    for fault in error.errors():
        if not fault["loc"]:
            phrases[""] = fault["msg"].removeprefix("Value error, ")
            continue
        own = str(fault["loc"][0])
        name = option_names.get(own, own)
        if name not in phrases or not fault["type"].endswith("_type"):
            phrases[name] = f"{name} {_phrase(fault['msg'], fault['input'])}"
    return list(phrases.values())


def _phrase(message: str, value: object) -> str:
    if isinstance(value, float) and math.isnan(value):
        return "is not a number, got nan"
    start = "Input should"
    what = message.removeprefix("Input ") if message.startswith(start) else f"({message})"
    return f"{what}, got {value!r}"
