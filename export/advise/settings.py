"""What ``pyad-edge advise`` is asked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pyad_edge.errors import SettingError
from pyad_edge.export.methods.patchcore.settings import faults

__all__ = ["TRAINED", "AdviseSettings", "Trained", "make_settings", "methods_of", "seconds_of"]

Trained = Literal["recontrast", "fod", "grad"]
TRAINED: tuple[Trained, ...] = ("recontrast", "fod", "grad")
UNITS: Mapping[str, float] = MappingProxyType({"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0})
OPTION_NAMES = {
    name: f"--{name.replace('_', '-')}"
    for name in ("latency", "time", "size", "backbones", "false_reject", "seed")
} | {"backbones": "--backbone"}

Side = Annotated[int, Field(ge=64, le=2048, multiple_of=32)]


class AdviseSettings(BaseModel):
    """What is tried, and what counts.

    Attributes:
        latency: seconds from a frame in memory to its verdict, that 99 of 100 frames must meet.
        time: seconds after which no further candidate is begun.
        sizes: (height and width) of the network's input, the first one for every method.
        backbones: of memory banks: edge18, or ONNX files.
        include: methods that train a network, beside the memory banks.
        weights: of the networks that ReContrast and FOD start from: a file, or ``hub``.
        false_reject: target rate of rejected normal parts.
        seed: of divisions, defects and fits.
        held_out: share of the good pictures that no candidate is fitted on.
        most_held_out: pictures that are judged at most.
        defects: synthetic ones on each held-out picture, one at a time.
        rounds: frames that each candidate is timed on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    latency: Annotated[float, Field(gt=0, le=60, allow_inf_nan=False)]
    time: Annotated[float, Field(gt=0, le=7 * 86400, allow_inf_nan=False)] = 600.0
    sizes: tuple[Side, ...] = (256, 192)
    backbones: tuple[str, ...] = ("edge18",)
    include: tuple[Trained, ...] = ()
    weights: str | None = None
    false_reject: Annotated[float, Field(gt=0, le=0.5)] = 0.001
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    held_out: Annotated[float, Field(gt=0, lt=1)] = 0.25
    most_held_out: Annotated[int, Field(ge=2)] = 100
    defects: Annotated[int, Field(ge=1, le=16)] = 2
    rounds: Annotated[int, Field(ge=10, le=100_000)] = 200


def make_settings(**values: object) -> AdviseSettings:
    """Settings from plain values, with errors as sentences.

    Raises:
        SettingError: names every value that cannot be used.
    """
    try:
        settings = AdviseSettings(**values)  # type: ignore[arg-type]
    except ValidationError as error:
        found = "; ".join(faults(error, OPTION_NAMES | {"sizes": "--size"}))
        raise SettingError(f"[advise] settings that cannot be used: {found}.") from None
    for name, given in (("--size", settings.sizes), ("--backbone", settings.backbones)):
        if not given or len(set(given)) < len(given):
            raise SettingError(
                f"[advise] expected one or more different values of {name}, got "
                f"{', '.join(map(str, given)) or 'none'}."
            )
    needs = [name for name in settings.include if name in ("recontrast", "fod")]
    if needs and settings.weights is None:
        raise SettingError(
            f"[advise] --include {','.join(needs)} starts from a pretrained network: give "
            "--weights FILE.safetensors, or --weights hub to download it."
        )
    if settings.weights is not None and not needs:
        raise SettingError(
            "[advise] --weights is for --include recontrast or fod. Name one of them, or leave "
            "--weights out."
        )
    return settings


def seconds_of(text: str, option: str) -> float:
    """Seconds of a duration such as ``20ms``, ``0.5s``, ``10m`` or ``1h``.

    Args:
        text: a number and its unit, without a space.
        option: that it was given for.

    Raises:
        SettingError: if it is no such text, or not above 0.
    """
    found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h)", text.strip())
    if found is None:
        known = ", ".join(UNITS)
        raise SettingError(
            f"[advise] expected {option} as a number with its unit ({known}), without a space, "
            f"such as 20ms or 10m, got '{text}'."
        )
    seconds = float(found[1]) * UNITS[found[2]]
    if seconds == 0:
        raise SettingError(f"[advise] expected {option} above 0, got '{text}'.")
    return seconds


def methods_of(text: str | None) -> tuple[Trained, ...]:
    """Methods out of ``recontrast,fod``, in the order of ``TRAINED``.

    Raises:
        SettingError: if one of them is none.
    """
    if text is None:
        return ()
    named = [part.strip() for part in text.split(",")]
    if unknown := [name for name in named if name not in TRAINED]:
        raise SettingError(
            f"[advise] expected --include as some of {','.join(TRAINED)}, got '{text}': "
            f"'{unknown[0]}' is none of them. PatchCore and, where torch is installed, ReConPatch "
            "are always tried."
        )
    return tuple(name for name in TRAINED if name in named)
