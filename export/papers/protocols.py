"""How each method is trained on each data set: the papers' sizes and schedules, or shorter ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

__all__ = [
    "BUDGETS",
    "COUNTED",
    "METHODS",
    "TITLES",
    "Budget",
    "Input",
    "Method",
    "Shortened",
    "input_of",
    "shortened",
]

Method = Literal["patchcore", "reconpatch", "recontrast", "fod", "grad"]
METHODS: tuple[Method, ...] = ("patchcore", "reconpatch", "recontrast", "fod", "grad")
TITLES: Mapping[str, str] = MappingProxyType(
    {
        "patchcore": "PatchCore",
        "reconpatch": "ReConPatch",
        "recontrast": "ReContrast",
        "fod": "FOD",
        "grad": "GRAD",
    }
)
Budget = Literal["5m", "30m", "full"]
BUDGETS: tuple[Budget, ...] = ("5m", "30m", "full")
COUNTED: tuple[Method, ...] = ("recontrast", "fod", "grad")
"""Methods whose trainings take a number of steps."""

# ReContrast, appendix C; the same as MVTec AD's where the paper has no such data set.
ITERATIONS: Mapping[str, int] = MappingProxyType({"visa": 3000, "aptos": 1000, "oct": 1000})
ITERATIONS_ELSE = 2000
MEDICAL = ("isic", "aptos", "oct")
MEDICAL_BATCH = 32
# Fixed numbers of steps, so that a figure is the same on every machine. They were chosen on
# held-out training pictures (benchmarks/recontrast_curve.py, fod_validation.py), never on test.
SHORT: Mapping[str, Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "reconpatch": {"5m": {"epochs": 0.25}, "30m": {"epochs": 2.0}},
        "recontrast": {
            "5m": {"iterations": 25, "alpha_rise": 1.0},
            "30m": {"iterations": 100, "alpha_rise": 1.0},
        },
        "fod": {
            "5m": {"steps": 40, "rate": 1e-3, "schedule": "cosine", "rows": 0.25},
            "30m": {"steps": 150, "rate": 1e-3, "schedule": "cosine", "rows": 0.25},
        },
    }
)


@dataclass(frozen=True)
class Input:
    """What pictures become for the network.

    Attributes:
        resize: (height, width), or the shorter side.
        crop: centre crop (height, width), or None.
    """

    resize: tuple[int, int] | int
    crop: tuple[int, int] | None = None

    def statement(self) -> str:
        """For people."""
        if isinstance(self.resize, int):
            start = f"shorter side {self.resize}"
        else:
            start = _side(self.resize)
        return f"{start} px" if self.crop is None else f"{start}, cut to {_side(self.crop)} px"


@dataclass(frozen=True)
class Shortened:
    """What a budget or a number of steps changes in a method's settings.

    Attributes:
        values: settings by name; empty: the paper's schedule.
        budget: of GRAD, which measures how many steps it affords; None: no budget.
    """

    values: Mapping[str, Any]
    budget: Budget | None = None


def input_of(method: str, dataset: str, size: tuple[int, int] | None) -> Input:
    """The papers' sizes; whole pictures where no paper gives one.

    PatchCore and ReConPatch cut MVTec AD's pictures to 224 of 256 pixels. On MTD a crop would cut
    defects away.

    Args:
        method, dataset: keys.
        size: whole pictures of this size instead.
    """
    if size is not None:
        return Input(size)
    bank = method in ("patchcore", "reconpatch")
    if dataset == "isic":
        return Input((256, 256), (224, 224))
    if bank and dataset == "mvtec":
        return Input(256, (224, 224))
    if method == "reconpatch" and dataset == "btad":
        return Input((480, 480))
    return Input((256, 256))


def shortened(method: str, dataset: str, *, budget: Budget, steps: int | None) -> Shortened:
    """Settings of a schedule.

    Args:
        method, dataset: keys.
        budget: ``full``: the paper's.
        steps: explicit number instead, of the methods in ``COUNTED``: ReContrast's iterations,
            FOD's steps; those of each of GRAD's trainings, and as many windows, 16 to 1,000.
    """
    own: dict[str, Any] = {}
    if method == "recontrast":
        own["iterations"] = ITERATIONS.get(dataset, ITERATIONS_ELSE)
        if dataset in MEDICAL:
            own["batch"] = MEDICAL_BATCH
        if dataset == "isic":
            own["score"] = "mean"
    if method == "grad" and dataset == "mvtec":
        own["levels"] = (34,)  # "one level suffices", so the paper
    if steps is None or method not in COUNTED:
        timed = budget if method == "grad" and budget != "full" else None
        return Shortened(own | dict(SHORT.get(method, {}).get(budget, {})), timed)
    if method == "grad":
        counts = {"diffusion_steps": steps, "detector_steps": steps}
        return Shortened(own | counts | {"samples": max(16, min(1000, steps))})
    name = "iterations" if method == "recontrast" else "steps"
    return Shortened(own | dict(SHORT[method]["5m"]) | {name: steps})


def _side(size: tuple[int, int]) -> str:
    return f"{size[0]}" if size[0] == size[1] else f"{size[0]}x{size[1]}"
