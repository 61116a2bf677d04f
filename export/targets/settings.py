"""What an export is made for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pyad_edge.errors import SettingError
from pyad_edge.export.methods.patchcore.settings import faults
from pyad_edge.export.targets.networks import Precision

__all__ = ["PRECISIONS", "TARGETS", "ExportSettings", "Target", "make_settings"]

Target = Literal["onnx", "openvino", "tensorrt", "tensorrt-rtx", "triton"]
TARGETS: tuple[Target, ...] = ("onnx", "openvino", "tensorrt", "tensorrt-rtx", "triton")
PRECISIONS: Mapping[Target, tuple[Precision, ...]] = MappingProxyType(
    {
        "onnx": ("fp32", "fp16", "int8"),
        "openvino": ("fp32", "fp16", "bf16", "int8"),
        "tensorrt": ("fp32", "fp16", "bf16", "int8"),
        "tensorrt-rtx": ("fp32", "fp16", "bf16", "int8"),
        "triton": ("fp32", "fp16", "int8"),
    }
)
_PLANS = ("tensorrt", "tensorrt-rtx")
_NO_BF16 = (
    "ONNX Runtime's CPU has no convolutions in bf16, so such a file would not load there. Use "
    "fp16 or int8, or --to openvino for bf16"
)

Side = Annotated[int, Field(ge=8, le=16384)]


class ExportSettings(BaseModel):
    """What an export needs to know besides the engine.

    Attributes:
        target: what it is for.
        precision: that the networks compute in; search, head and map stay float32.
        frame_size: (H, W) of the frames that will come; None: what the engine knows.
        batch: frames of one run; None: any number.
        calibration: folder of normal pictures for int8; None: the engine's golden pictures alone.
        device: that Triton runs the model on.
        max_batch: of any number, what Triton puts together at most.
        name: of Triton's model; None: that of the engine's file.
        build: whether a plan is built, not only the network that it is built from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    target: Target
    precision: Precision = "fp32"
    frame_size: tuple[Side, Side] | None = None
    batch: Annotated[int, Field(ge=1, le=256)] | None = 1
    calibration: Path | None = None
    device: Literal["cpu", "cuda"] = "cpu"
    max_batch: Annotated[int, Field(ge=1, le=256)] = 8
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$")] | None = None
    build: bool = True

    @model_validator(mode="after")
    def _possible(self) -> ExportSettings:
        if self.precision not in PRECISIONS[self.target]:
            raise ValueError(f"{self.target} has no {self.precision} here: {_NO_BF16}")
        if self.calibration is not None and self.precision != "int8":
            raise ValueError(
                f"--calibration belongs to --precision int8, got {self.precision}: leave it out"
            )
        if not self.build and self.target not in _PLANS:
            raise ValueError(f"--no-build belongs to plans, got --to {self.target}: leave it out")
        if self.target in _PLANS and self.batch is None:
            raise ValueError(
                f"a plan of {self.target} is for one batch size: give its number as --batch"
            )
        if self.target in _PLANS and self.frame_size is not None:
            raise ValueError(
                f"{self.target} holds the network, whose input has the engine's size: leave "
                "--frame-size out"
            )
        return self


_OPTION_NAMES = {
    "target": "--to",
    "precision": "--precision",
    "frame_size": "--frame-size",
    "batch": "--batch",
    "calibration": "--calibration",
    "device": "--device",
    "max_batch": "--max-batch",
    "name": "--name",
    "build": "--no-build",
}


def make_settings(**values: object) -> ExportSettings:
    """Settings; what is not allowed is named.

    Raises:
        SettingError: a setting's value cannot be used.
    """
    try:
        return ExportSettings.model_validate(values)
    except ValidationError as error:
        raise SettingError(f"[export] {'; '.join(faults(error, _OPTION_NAMES))}.") from error
