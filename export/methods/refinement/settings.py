"""Settings of a refinement network's training."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pyad_edge.errors import SettingError
from pyad_edge.export.methods.patchcore.settings import faults
from pyad_edge.export.synthetic import Kind

__all__ = ["RefinementSettings", "make_settings"]

NO_NAMES: Mapping[str, str] = MappingProxyType({})


class RefinementSettings(BaseModel):
    """What a training needs to know besides the engine and the pictures.

    The paper's values (supplement D.1) are batch 16, SGD with a learning rate of 1e-2, momentum
    0.9, weight decay 1e-4, and 500 epochs; it states neither the network's width nor the weights
    of the two losses. Those are MemSeg's (0.6 L1 + 0.4 focal, gamma 4). The rate is ten times the
    paper's, as the epochs are a sixteenth: chosen on validation (refinement_validation.py).

    Attributes:
        width: channels of every layer.
        stride: of the first convolution: 4 works on a sixteenth of the map's pixels.
        rates: dilations of the parallel convolutions.
        picture: whether the network also sees the picture.
        score: ``maximum`` of the refined map, or ``keep`` the score that the engine gave.
        sigma: of the Gaussian over the refined map, in its pixels; 0: none.
        kinds: of the synthetic defects.
        defects: defective versions of every training picture.
        epochs: passes over all pictures, good and defective. The paper: 500.
        batch, momentum, weight_decay: the paper's.
        learning_rate: the paper's is 1e-2.
        schedule: ``constant`` as in the paper, or ``cosine`` annealing to zero.
        focal_gamma, focal_weight, l1_weight: of the loss.
        calibration: share of the engine's held-out good pictures that the network never sees, so
            that the new threshold can rest on them.
        seed: of defects, first weights and order.
        memory_limit: bytes that the cached maps may use, or None for 60 % of what is free.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    width: Annotated[int, Field(ge=4, le=128)] = 16
    stride: Literal[1, 2, 4, 8] = 4
    rates: tuple[Annotated[int, Field(ge=1, le=64)], ...] = (1, 2, 4, 8)
    picture: bool = False
    score: Literal["maximum", "keep"] = "maximum"
    sigma: Annotated[float, Field(ge=0, le=64)] = 0.0
    kinds: tuple[Kind, ...] = ("structural",)
    defects: Annotated[int, Field(ge=1, le=1000)] = 4
    epochs: Annotated[int, Field(ge=1, le=100_000)] = 30
    batch: Annotated[int, Field(ge=2, le=1024)] = 16
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 1e-1
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 1e-4
    schedule: Literal["constant", "cosine"] = "cosine"
    focal_gamma: Annotated[float, Field(ge=0, le=10)] = 4.0
    focal_weight: Annotated[float, Field(ge=0, le=1000)] = 0.4
    l1_weight: Annotated[float, Field(ge=0, le=1000)] = 0.6
    calibration: Annotated[float, Field(gt=0, lt=1)] = 0.5
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    memory_limit: Annotated[int, Field(ge=1)] | None = None


def make_settings(
    *, option_names: Mapping[str, str] = NO_NAMES, **values: object
) -> RefinementSettings:
    """Settings from plain values, with errors as sentences.

    Args:
        option_names: what the user knows a setting as, where that is not its name here.
        values: see RefinementSettings.

    Raises:
        SettingError: names every value that cannot be used.
    """
    try:
        return RefinementSettings(**values)  # type: ignore[arg-type]
    except ValidationError as error:
        wrong = "; ".join(faults(error, option_names))
        raise SettingError(f"[refinement] settings that cannot be used: {wrong}.") from None
