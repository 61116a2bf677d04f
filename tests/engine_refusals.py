"""Engines of format 4, whole, and what is done to them to see them refused."""

from __future__ import annotations

from typing import Any

import pytest
from engine_factory import (
    Tensors,
    engine_bytes,
    ensemble_engine,
    fod_engine,
    grad_engine,
    reconpatch_engine,
    recontrast_engine,
    refined,
    small_engine,
)

from pyad_edge.engine import verify_bytes
from pyad_edge.engine_manifest import IndexErrors, IvfPqIndex, ManifestDraft
from pyad_edge.errors import EngineError

__all__ = ["ENGINES", "Made", "index", "refused"]

Made = tuple[ManifestDraft, Tensors]

ENGINES: dict[str, Made] = {
    "reconpatch": reconpatch_engine(),
    "ensemble": ensemble_engine(),
    "ensemble of three": ensemble_engine(onnx=(b"a", b"b", b"c")),
    "recontrast": recontrast_engine(),
    "grad": grad_engine(),
    "fod": fod_engine(),
    "refined": refined(*small_engine()),
    "refined maximum": refined(*recontrast_engine(), score="maximum"),
    "refined ensemble": refined(*ensemble_engine()),
}


def refused(made: Made, reason: str, tensors: dict[str, Any] | None = None, **draft: Any) -> None:
    """Written by our own writer: every hash is right, the parts do not fit each other."""
    data = engine_bytes(made[0].model_copy(update=draft), {**made[1], **(tensors or {})})
    with pytest.raises(EngineError, match=f"contradicts itself: .*{reason}"):
        verify_bytes(data, "part.pyad")


def index() -> IvfPqIndex:
    errors = IndexErrors(
        pictures=2,
        patches=32,
        recall_at_1=1.0,
        patch_mean=0.0,
        patch_max=0.0,
        image_mean=0.0,
        image_max=0.0,
        exact_searches=0,
    )
    return IvfPqIndex(
        type="faiss_ivfpq",
        faiss="1.0",
        nlist=1,
        m=1,
        nbits=4,
        nprobe=1,
        candidates=4,
        errors=errors,
    )
