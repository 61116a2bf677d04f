"""Engines of format 4 in the runtime: an ensemble is its members, a refinement its network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from command_line import call
from engine_factory import Tensors
from format_4_engines import NAMES, runnable
from PIL import Image

from pyad_edge import Runtime
from pyad_edge.engine import Engine, read_engine
from pyad_edge.engine_manifest import InputSpec, ManifestDraft, member_tensor
from pyad_edge.export.engine_writer import write_engine
from pyad_edge.opening import build_pipeline

ENGINES = Path(__file__).parents[1] / "engines"
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


@pytest.mark.parametrize("name", ["refined", "ensemble", "refined ensemble"])
def test_what_a_mask_leaves_out_is_never_the_maximum(name: str, tmp_path: Path) -> None:
    engine = read_engine(runnable("ensemble" if "ensemble" in name else "refined", tmp_path))
    refinement = read_engine(runnable("refined", tmp_path))
    mask = np.zeros((80, 96), np.uint8)
    mask[:, 48:] = 255
    spec = InputSpec(
        pixel_format="RGB8",
        window=None,
        size_policy="resize",
        frame_size=(80, 96),
        padding=None,
        tiling=None,
        mask=True,
    )
    fields = {field: getattr(engine.manifest, field) for field in ManifestDraft.model_fields}
    changes: dict[str, Any] = {"input": spec}
    tensors = {**engine.tensors, "input/mask": mask}
    if "refined" in name:
        changes["refinement"] = refinement.manifest.refinement
        tensors["refinement/onnx"] = refinement.tensors["refinement/onnx"]
        tensors |= {k: t for k, t in refinement.tensors.items() if k.startswith("calibration/")}
        tensors["golden/scores"] = refinement.tensors["golden/scores"]
    path = tmp_path / "masked.pyad"
    write_engine(path, manifest=ManifestDraft(**fields | changes), tensors=tensors)
    pipeline = build_pipeline(read_engine(path))
    for n in range(3):
        frame = np.random.default_rng(n).integers(0, 256, (80, 96, 3), dtype=np.uint8)
        scores = pipeline.score([frame])
        out, inside = scores.maps[0][:, :14], scores.maps[0][:, 18:]
        assert np.unique(out).size == 1
        assert out.max() < inside.min()
        assert scores.map_maxima[0] == scores.maps[0].max()
        if "refined" in name:
            assert out.max() == 0.0
            assert scores.image[0] == scores.maps[0].max()


@pytest.mark.parametrize("name", NAMES)
def test_commands_run_them(name: str, tmp_path: Path) -> None:
    engine = ENGINES / f"v4_{name}.pyad"
    data = tmp_path / "data"
    for folder in ("train/good", "test/good", "test/scratch"):
        (data / folder).mkdir(parents=True)
        for n, picture in enumerate(PICTURES[:2]):
            Image.fromarray(picture).save(data / folder / f"{n}.png")
    runtime = Runtime(engine)
    alone = [runtime.infer(picture) for picture in PICTURES]
    together = runtime.infer_batch(PICTURES)
    for one, other in zip(alone, together, strict=True):
        assert one.score == other.score
        np.testing.assert_array_equal(one.anomaly_map, other.anomaly_map)
    answer = call("run", engine, "--source", data / "test" / "good")
    assert answer.code == 0, answer.err
    lines = [json.loads(line) for line in answer.out.splitlines() if line.startswith("{")]
    shown = [(line["score"], line["verdict"]) for line in lines]
    assert shown == [(one.score, one.verdict.value) for one in alone[:2]]
    answer = call("eval", engine, "--data", data)
    assert answer.code == 0, answer.err
    assert "AUROC" in answer.out
