"""What the fields of a manifest are made of: a strict, closed model and bounded numbers."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "Count",
    "Dim",
    "NotNegative",
    "Positive",
    "Scalar",
    "Sha256",
    "Side",
    "Size",
    "Smoothing",
    "StrictModel",
    "TensorName",
    "Text",
]

Sha256: TypeAlias = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Text: TypeAlias = Annotated[str, Field(min_length=1, max_length=2000)]
Side: TypeAlias = Annotated[int, Field(ge=1, le=16384)]
Size: TypeAlias = tuple[Side, Side]  # (height, width)
Count: TypeAlias = Annotated[int, Field(ge=1)]
Dim: TypeAlias = Annotated[int, Field(ge=1, le=16384)]
Positive: TypeAlias = Annotated[float, Field(gt=0)]
NotNegative: TypeAlias = Annotated[float, Field(ge=0)]
Smoothing: TypeAlias = Annotated[float, Field(ge=0, le=256)]  # pixels of the network's input
Scalar: TypeAlias = bool | int | float | str | None
TensorName: TypeAlias = Annotated[
    str, Field(pattern=r"^[a-z][a-z0-9_]*(/[a-z0-9_]+)*$", max_length=100)
]


class StrictModel(BaseModel):
    """Nothing is filled in, converted or ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
