"""Who takes part: a method with its network, its share of the coreset, and its schedule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pyad_edge.errors import SettingError
from pyad_edge.export.backbones import resolve_backbone
from pyad_edge.export.duplicates import file_sha256
from pyad_edge.export.networks import require
from pyad_edge.export.papers.protocols import TITLES, Budget, Method

__all__ = ["BANKS", "FROM_WEIGHTS", "Contender", "contenders_of"]

BANKS: tuple[Method, ...] = ("patchcore", "reconpatch")
FROM_WEIGHTS: tuple[Method, ...] = ("recontrast", "fod")
Weights = Path | Literal["hub", "random"]


@dataclass(frozen=True)
class Contender:
    """One column of ours.

    Attributes:
        method: key of ``TITLES``.
        network: its name, for people; None: the method starts from nothing.
        source: what ``train`` is given: a backbone file or name, or weights.
        weights: SHA-256 or word that says which weights these are.
        coreset: share of the patches in a memory bank; None: there is no bank.
        budget, steps: of the schedule.
    """

    method: Method
    network: str | None
    source: str | Weights | None
    weights: str | None
    coreset: float | None
    budget: Budget
    steps: int | None

    @property
    def label(self) -> str:
        """For a table's row."""
        parts = [TITLES[self.method]]
        if self.coreset is not None:
            parts[0] += f"-{self.coreset * 100:g} %"
        return ", ".join(parts + ([self.network] if self.network else []))

    def identity(self) -> dict[str, Any]:
        """What two runs of the same contender have in common, as plain data."""
        names = ("method", "network", "weights", "coreset", "budget", "steps")
        return {name: getattr(self, name) for name in names}


def contenders_of(
    methods: Sequence[Method],
    *,
    backbones: Sequence[str],
    layers: str | None,
    weights: str | None,
    network: str,
    coresets: Sequence[float],
    budget: Budget,
    steps: int | None,
) -> list[Contender]:
    """Every combination that makes sense, checked before the first training starts.

    Args:
        methods: keys.
        backbones: of memory banks: ``edge18`` or ONNX files. layers: their outputs.
        weights: of ReContrast and FOD: a file, ``hub`` or ``random``. network: their name.
        coresets: shares.
        budget, steps: see ``protocols.shortened``.

    Raises:
        SettingError: if something is missing or has no use.
        BackendError: if a backbone cannot be read, or packages are missing.
    """
    found: list[Contender] = []
    for method in methods:
        if method != "patchcore":
            require("torch", operation=f"bench papers --methods {method}")
        if method in BANKS:
            for name in backbones:
                backbone = resolve_backbone(name, layers=layers)
                # What has no use for a method is not part of what it is.
                kept = budget if method == "reconpatch" else "full"
                found += [
                    Contender(method, backbone.name, name, backbone.onnx_sha256, share, kept, None)
                    for share in coresets
                ]
        elif method in FROM_WEIGHTS:
            source, known = _weights(method, weights)
            found.append(Contender(method, network, source, known, None, budget, steps))
        else:
            found.append(Contender(method, None, None, None, None, budget, steps))
    return found


def _weights(method: str, text: str | None) -> tuple[Weights, str]:
    if text is None:
        raise SettingError(
            f"[bench papers] {method} starts from trained weights: give --weights "
            "FILE.safetensors, or hub to download them, and --network, their timm name."
        )
    if text == "hub":
        return "hub", "hub"
    if text == "random":
        return "random", "random"
    path = Path(text)
    if not path.is_file():
        raise SettingError(f"[bench papers] --weights {path} is no file, nor 'hub'.")
    return path, file_sha256(path).hex()
