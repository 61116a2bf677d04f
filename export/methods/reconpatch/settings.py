"""Settings of a ReConPatch training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pyad_edge.errors import SettingError
from pyad_edge.export.methods.patchcore.settings import NO_NAMES, faults

__all__ = ["ReConPatchSettings", "make_reconpatch_settings"]

Share = Annotated[float, Field(ge=0, le=1)]


class ReConPatchSettings(BaseModel):
    """How the linear map f is learned; what follows it are PatchCore's own settings.

    Attributes:
        dim: D' of f, the length of a bank row. The paper: 512 for one backbone, 384 in ensembles.
        projection: length of g's output; None: ``dim``.
        start: f before training: ``whitened`` (the features' principal axes, each divided by the
            square root of its standard deviation, so that what varies little on good parts counts
            for more), ``principal`` (the axes alone) or ``random``.
        epochs: passes over all patches. The paper: 120.
        batch: patches of a mini-batch, drawn over all pictures. The paper does not give it.
        rate: of AdamP, at its start; a cosine brings it to 0. The paper: 1e-5 (ensembles 1e-6).
        weight_decay: of AdamP. The paper: 1e-2.
        neighbors: k of eq. 2. The paper: 5.
        margin: m of eq. 7. The paper: 1.
        alpha: of eq. 6, the pairwise similarity's share. The paper: 0.5.
        bandwidth: sigma of eq. 1, as a multiple of the mini-batch's mean squared distance, so that
            it means the same for every backbone. The paper does not give it.
        momentum: gamma of eq. 8. The paper does not give it.
        seed: of f, g and the order of patches.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    dim: Annotated[int, Field(ge=1, le=4096)] = 512
    projection: Annotated[int, Field(ge=1, le=4096)] | None = None
    start: Literal["whitened", "principal", "random"] = "whitened"
    epochs: Annotated[float, Field(gt=0, le=10_000)] = 120.0
    batch: Annotated[int, Field(ge=8, le=16384)] = 512
    rate: Annotated[float, Field(gt=0, le=1)] = 1e-5
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 1e-2
    neighbors: Annotated[int, Field(ge=2, le=1024)] = 5
    margin: Annotated[float, Field(gt=0, le=100)] = 1.0
    alpha: Share = 0.5
    bandwidth: Annotated[float, Field(gt=0, le=1e6)] = 1.0
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.99
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0


def make_reconpatch_settings(
    *, option_names: Mapping[str, str] = NO_NAMES, **values: object
) -> ReConPatchSettings:
    """Settings from plain values, with errors as sentences.

    Args:
        option_names: how the caller's user knows each setting.
        values: as :class:`ReConPatchSettings`.

    Raises:
        SettingError: names what cannot be used.
    """
    try:
        return ReConPatchSettings.model_validate(values)
    except ValidationError as error:
        found = "; ".join(faults(error, option_names))
        raise SettingError(f"[reconpatch] settings that cannot be used: {found}.") from None
