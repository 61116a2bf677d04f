"""Settings of a ReContrast training."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pyad_edge.errors import SettingError
from pyad_edge.export.methods.patchcore.settings import faults
from pyad_edge.export.methods.recontrast.schedule import ALPHA_RISE

__all__ = ["STRIDE", "ReContrastSettings", "make_settings"]

NO_NAMES: Mapping[str, str] = MappingProxyType({})
STRIDE = 32
"""The bottleneck's: sides of the input are multiples of it, so that the decoder's maps fit."""

Side = Annotated[int, Field(ge=64, le=4096)]
Rate = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class ReContrastSettings(BaseModel):
    """What a training needs to know besides the pictures and the encoder. Defaults: the paper's.

    Attributes:
        resize: (height, width) that every picture is resized to, or the shorter side (with a crop).
        crop: centre crop (height, width) after resizing, or None.
        iterations: 2000 for one product, 5000 for many.
        batch: pictures per iteration.
        encoder_rate, decoder_rate: AdamW's learning rates of the encoder, and of all that is new.
        weight_decay: AdamW's.
        batch_norm: of the encoder: ``stable`` (appendix E), ``train`` or ``eval``.
        forget_every: iterations after which AdamW's moments begin again (appendix E); 0: never.
        alpha_start, alpha_end: of the hard mining.
        alpha_rise: share of the iterations in which alpha goes from the one to the other. The
            paper's tenth is 200 iterations; a schedule that is cut short needs a larger share.
        pairs: ``both`` encoders' maps, six pairs; ``trained``: three pairs, Table A6.
        score: of a picture: ``maximum`` of its map, or ``mean`` where whole pictures deviate.
        sigma: of the map's Gaussian, in pixels of the network's input.
        precision: of the training: ``fp32``, or ``bf16`` autocast; weights and loss stay float32.
        holdout: share of the good pictures kept out of the training, for calibration.
        false_reject: target rate of rejected normal parts.
        seed: of the hold-out, the new weights and the order of pictures.
        memory_limit: bytes the training may use, or None for 60 % of what is free.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    resize: tuple[Side, Side] | Side = (256, 256)
    crop: tuple[Side, Side] | None = None
    iterations: Annotated[int, Field(ge=1, le=10**7)] = 2000
    batch: Annotated[int, Field(ge=2, le=4096)] = 16
    encoder_rate: Rate = 1e-5
    decoder_rate: Rate = 2e-3
    weight_decay: Rate = 1e-5
    batch_norm: Literal["stable", "train", "eval"] = "stable"
    forget_every: Annotated[int, Field(ge=0)] = 500
    alpha_start: Annotated[float, Field(ge=-100, le=100)] = -3.0
    alpha_end: Annotated[float, Field(ge=-100, le=100)] = 1.0
    alpha_rise: Annotated[float, Field(gt=0, le=1)] = ALPHA_RISE
    pairs: Literal["both", "trained"] = "both"
    score: Literal["maximum", "mean"] = "maximum"
    sigma: Annotated[float, Field(ge=0, le=256)] = 4.0
    precision: Literal["fp32", "bf16"] = "fp32"
    holdout: Annotated[float, Field(ge=0, lt=1)] = 0.2
    false_reject: Annotated[float, Field(gt=0, le=0.5)] = 0.001
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    memory_limit: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _sizes_agree(self) -> ReContrastSettings:
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
        if H % STRIDE or W % STRIDE:
            raise ValueError(
                f"the network's input needs sides that are multiples of {STRIDE}, since the "
                f"decoder doubles what the encoder halved, got {H}x{W}; use for example "
                f"{_near(H)}x{_near(W)}"
            )
        return self

    @property
    def input_size(self) -> tuple[int, int]:
        """(H, W) of the network's input."""
        sides = (self.resize, self.resize) if isinstance(self.resize, int) else self.resize
        return self.crop or sides


def _near(side: int) -> int:
    return max(2, round(side / STRIDE)) * STRIDE


def make_settings(
    *, option_names: Mapping[str, str] = NO_NAMES, **values: object
) -> ReContrastSettings:
    """Settings from plain values, with errors as sentences.

    Args:
        option_names: what the user knows a setting as, where that is not its name here.
        values: see ReContrastSettings.

    Raises:
        SettingError: names every value that cannot be used.
    """
    try:
        return ReContrastSettings(**values)  # type: ignore[arg-type]
    except ValidationError as error:
        found = "; ".join(faults(error, option_names))
        raise SettingError(f"[recontrast] settings that cannot be used: {found}.") from None
