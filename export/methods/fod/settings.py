"""Settings of a FOD training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pyad_edge.errors import SettingError
from pyad_edge.export.methods.patchcore.settings import faults

__all__ = ["FodSettings", "ReferenceKind", "Score", "Views", "make_settings"]

NO_NAMES: Mapping[str, str] = MappingProxyType({})
Side = Annotated[int, Field(ge=32, le=4096)]
Rate = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Factor = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
Levels = Annotated[tuple[Literal[4, 8, 16, 32], ...], Field(min_length=1, max_length=3)]
Widths = Annotated[tuple[Annotated[int, Field(ge=8, le=4096)], ...], Field(min_length=1)]
ReferenceKind = Literal["mean", "nearest", "coreset", "prototypes", "codebook"]
Views = Literal["patch", "intra", "inter", "all"]
Score = Literal["rec", "div", "rec*div"]


class FodSettings(BaseModel):
    """What a training needs to know besides the pictures and the backbone. Defaults: the paper's.

    Attributes:
        resize: (height, width) that every picture is resized to, or the shorter side (with a crop).
        crop: centre crop (height, width) after resizing, or None.
        levels: down-sampling ratios of the backbone's levels, the finest first.
        widths: d_m of each level's transformer.
        heads, layers: of each.
        reference: what the inter-correlation looks at, see ``reference.py``.
        reference_size: candidates, prototypes or codes, where the reference has several; none: 16,
            10 and 512.
        views: ``all``, or an ablation of Table 4: ``patch``, ``intra``, ``inter``.
        skip: ``paper``: eq. 1 adds a block's input to its correlations' output; ``code``: the
            public code does not where both branches are there.
        lambda_divergence, lambda_entropy: λ1 and λ2.
        epochs: passes over the pictures; batch: pictures per step.
        rows: share of the patches whose correlations enter the losses of a step, drawn anew for
            each: their means are estimated without bias, in less time.
        rate: Adam's; schedule: ``constant``, or ``cosine`` down to zero.
        score: of a patch (Table 4): reconstruction error, divergence, or eq. 12.
        sigma: of the map's Gaussian, in pixels of the network's input.
        precision: of the training: ``fp32``, or ``bf16`` autocast; weights and statistics stay
            float32.
        holdout: share of the good pictures kept out of the training, for calibration.
        false_reject: target rate of rejected normal parts.
        seed: of the hold-out, the new weights, the reference and the order of pictures.
        memory_limit: bytes the training may use, or None for 60 % of what is free.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    resize: tuple[Side, Side] | Side = (256, 256)
    crop: tuple[Side, Side] | None = None
    levels: Levels = (8, 16)
    widths: Widths = (256, 512)
    heads: Annotated[int, Field(ge=1, le=64)] = 8
    layers: Annotated[int, Field(ge=1, le=16)] = 3
    reference: ReferenceKind = "mean"
    reference_size: Annotated[int, Field(ge=1, le=4096)] | None = None
    views: Views = "all"
    skip: Literal["paper", "code"] = "paper"
    lambda_divergence: Factor = 0.5
    lambda_entropy: Factor = 0.5
    epochs: Annotated[float, Field(gt=0, le=1e5, allow_inf_nan=False)] = 100.0
    batch: Annotated[int, Field(ge=1, le=4096)] = 1
    rows: Annotated[float, Field(gt=0, le=1)] = 1.0
    rate: Rate = 1e-4
    schedule: Literal["constant", "cosine"] = "constant"
    score: Score = "rec*div"
    sigma: Annotated[float, Field(ge=0, le=256)] = 4.0
    precision: Literal["fp32", "bf16"] = "fp32"
    holdout: Annotated[float, Field(ge=0, lt=1)] = 0.2
    false_reject: Annotated[float, Field(gt=0, le=0.5)] = 0.001
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    memory_limit: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _parts_agree(self) -> FodSettings:
        if isinstance(self.resize, int) and self.crop is None:
            raise ValueError(
                "resizing the shorter side needs a crop, so that all pictures have one size"
            )
        sides = (self.resize, self.resize) if isinstance(self.resize, int) else self.resize
        if self.crop is not None and (self.crop[0] > sides[0] or self.crop[1] > sides[1]):
            raise ValueError(
                f"the crop {self.crop} is larger than the resized picture {self.resize}"
            )
        H, W = self.crop or sides
        stride = max(self.levels)
        if H % stride or W % stride:
            raise ValueError(
                f"the network's input needs sides that are multiples of {stride}, got {H}x{W}"
            )
        if list(self.levels) != sorted(set(self.levels)) or len(self.levels) != len(self.widths):
            raise ValueError(
                f"expected levels from fine to coarse and a width for each, got {self.levels} and "
                f"{self.widths}"
            )
        for width in self.widths:
            if width % self.heads or width % 4:
                raise ValueError(
                    f"expected widths that {self.heads} heads and the four parts of the positions "
                    f"divide, got {width}"
                )
        if self.reference_size is not None and self.reference in ("mean", "coreset"):
            raise ValueError(
                f"reference '{self.reference}' has one feature a patch; leave reference_size out"
            )
        if self.score != "rec" and self.views in ("patch", "intra"):
            raise ValueError(
                f"score '{self.score}' needs the inter-correlation, which the view '{self.views}' "
                "does not have; use score 'rec'"
            )
        return self

    @property
    def input_size(self) -> tuple[int, int]:
        """(H, W) of the network's input."""
        sides = (self.resize, self.resize) if isinstance(self.resize, int) else self.resize
        return self.crop or sides

    @property
    def reference_count(self) -> int:
        """Candidates or prototypes of a patch, or codes of a book; 1 where there is no choice."""
        usual = {"nearest": 16, "prototypes": 10, "codebook": 512}.get(self.reference, 1)
        return usual if self.reference_size is None else self.reference_size

    @property
    def grids(self) -> tuple[tuple[int, int], ...]:
        """(h, w) of each level."""
        H, W = self.input_size
        return tuple((H // stride, W // stride) for stride in self.levels)

    def steps(self, pictures: int) -> int:
        """Training steps in all."""
        return max(1, math.ceil(self.epochs * pictures / self.batch))


def make_settings(*, option_names: Mapping[str, str] = NO_NAMES, **values: object) -> FodSettings:
    """Settings from plain values, with errors as sentences.

    Args:
        option_names: what the user knows a setting as, where that is not its name here.
        values: see FodSettings.

    Raises:
        SettingError: names every value that cannot be used.
    """
    try:
        return FodSettings(**values)  # type: ignore[arg-type]
    except ValidationError as error:
        found = "; ".join(faults(error, option_names))
        raise SettingError(f"[fod] settings that cannot be used: {found}.") from None
