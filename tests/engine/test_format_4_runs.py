"""Engines of format 4 in the runtime: an ensemble is its members, a refinement its network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from engine_factory import Tensors
from format_4_engines import runnable

from pyad_edge import Runtime
from pyad_edge.engine import Engine, read_engine
from pyad_edge.engine_manifest import ManifestDraft, member_tensor
from pyad_edge.export.engine_writer import write_engine
from pyad_edge.opening import build_pipeline

PICTURES = [
    np.random.default_rng(n).integers(0, 256, (41 + n, 40, 3), dtype=np.uint8) for n in range(4)
]


def alone(engine: Engine, i: int, path: Path, **changes: Any) -> Runtime:
    """One member of an engine, or the engine without its refinement, as an engine of its own."""
    member = engine.manifest.all_members[i]
    fields = {name: getattr(engine.manifest, name) for name in ManifestDraft.model_fields}
    fields |= {
        "backbone": member.backbone,
        "preprocessing": member.preprocessing,
        "network": member.network,
        "head": member.head,
        "members": None,
        "fusion": None,
        "refinement": None,
    }
    own = ("network/onnx", "bank/features", "bank/sources")
    tensors: Tensors = {
        name: tensor
        for name, tensor in engine.tensors.items()
        if not name.startswith(("members/", "refinement/"))
    }
    tensors |= {name: engine.tensors[member_tensor(i, name)] for name in own}
    draft = ManifestDraft(**fields)
    # Golden scores are those of the whole; a part gets its own.
    write_engine(path, manifest=draft, tensors=tensors)
    pipeline = build_pipeline(read_engine(path))
    golden = [float(pipeline.score([f]).image[0]) for f in tensors["golden/frames"]]
    tensors["golden/scores"] = np.array(golden, np.float32)
    return Runtime(write_engine(path, manifest=draft, tensors=tensors))


def test_an_ensemble_is_the_mean_of_its_members_modified_z_scores(tmp_path: Path) -> None:
    whole = Runtime(runnable("ensemble", tmp_path))
    fusion = whole.engine.manifest.fusion
    assert fusion is not None
    parts = [alone(whole.engine, i, tmp_path / f"{i}.pyad") for i in range(2)]
    for picture in PICTURES:
        result, found = whole.infer(picture), [part.infer(picture) for part in parts]
        z = [
            (float(part.score) - median) / (fusion.beta * mad)
            for part, median, mad in zip(found, fusion.median, fusion.mad, strict=True)
        ]
        maps = [
            (part.anomaly_map.astype(np.float64) - median) / (fusion.beta * mad)
            for part, median, mad in zip(found, fusion.map_median, fusion.map_mad, strict=True)
        ]
        assert result.score == pytest.approx(np.mean(z), rel=1e-5, abs=1e-6)
        np.testing.assert_allclose(result.anomaly_map, np.mean(maps, axis=0), rtol=1e-5, atol=1e-6)
        assert whole.decide(picture).verdict is result.verdict


def test_a_refinement_sees_the_map_and_the_picture(tmp_path: Path) -> None:
    whole = Runtime(runnable("refined", tmp_path))
    refinement = whole.engine.manifest.refinement
    assert refinement is not None
    plain = alone(whole.engine, 0, tmp_path / "plain.pyad")
    session = onnxruntime.InferenceSession(bytes(whole.engine.tensors["refinement/onnx"]))
    for picture in PICTURES:
        result = whole.infer(picture)
        seen = np.empty((1, 3, 32, 32), np.float32)
        plain.pipeline.write_input(picture, out=seen)
        raw = plain.infer(picture).anomaly_map
        first = ((raw - refinement.offset) / refinement.scale)[None, None].astype(np.float32)
        (expected,) = session.run(["map"], {"input": np.concatenate([first, seen], axis=1)})
        np.testing.assert_allclose(result.anomaly_map, expected[0, 0], rtol=1e-5, atol=1e-6)
        assert result.score == pytest.approx(float(result.anomaly_map.max()), rel=1e-6)
        assert whole.decide(picture).verdict is result.verdict
