"""Every method to every target: what is written gives what the engine gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from PIL import Image
from pipeline_graphs import draft_of, write

from pyad_edge import Runtime
from pyad_edge.backends.openvino_core import openvino_core
from pyad_edge.errors import BackendError
from pyad_edge.export.targets.export import ExportReport, export_engine
from pyad_edge.export.targets.graph import build_onnx, build_openvino
from pyad_edge.export.targets.settings import TARGETS, make_settings

METHODS = ("patchcore", "reconpatch", "recontrast", "fod", "grad", "ensemble", "refined")
SIZE = (40, 52)


@pytest.fixture(scope="module", params=METHODS)
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(draft_of(request.param), tmp_path_factory.mktemp("engine"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(draft_of("patchcore"), tmp_path_factory.mktemp("engine"))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five pictures, two of them of another size."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(8)
    for n, size in enumerate((SIZE, SIZE, (90, 70), (20, 33), SIZE)):
        Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(folder / f"{n}.png")
    return folder


def export(engine: Path, out: Path, target: str, pictures: Path, **settings: Any) -> ExportReport:
    plan = target.startswith("tensorrt")
    chosen = make_settings(target=target, frame_size=None if plan else SIZE, **settings)
    return export_engine(engine, out, settings=chosen, verify=pictures, threads=1)


def out_of(target: str, folder: Path) -> Path:
    return folder / {"onnx": "part.onnx", "openvino": "part.xml"}.get(target, "folder")


@pytest.mark.parametrize("target", [name for name in TARGETS if name != "tensorrt"])
def test_fp32_agrees_and_is_reported(
    engine: Path, target: str, pictures: Path, tmp_path: Path
) -> None:
    if target == "openvino":
        pytest.importorskip("openvino")
    if target == "tensorrt-rtx":
        pytest.importorskip("tensorrt_rtx")
    report = export(engine, out_of(target, tmp_path), target, pictures)
    assert report.faults == []
    assert report.golden is not None
    assert report.folder is not None
    assert report.folder.frames == 5
    assert report.folder.resized == (0 if target == "tensorrt-rtx" else 2)
    assert 0 <= report.folder.score_relative <= 1e-4
    assert report.folder.map_relative <= 1e-4
    written = json.loads(report.report.read_text())
    assert written["faults"] == []
    assert written["engine_sha256"] == Runtime(engine).engine.file_sha256
    assert set(written["folder"]["scores"]) == {f"{n}.png" for n in range(5)}
    assert (written["not_run"] is None) == (target != "tensorrt-rtx")
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path != report.report]
    sizes = {entry["bytes"] for entry in written["files"].values()}
    assert {path.stat().st_size for path in files} == sizes


def test_the_files_on_the_disk_give_the_scores(plain: Path, pictures: Path, tmp_path: Path) -> None:
    export(plain, tmp_path / "part.onnx", "onnx", pictures, batch=None)
    export(plain, tmp_path / "part.xml", "openvino", pictures)
    frames = np.random.default_rng(1).integers(0, 256, (3, *SIZE, 3), np.uint8)
    runtime = Runtime(plain)
    expected = [runtime.infer(frame).score for frame in frames]
    session = onnxruntime.InferenceSession(tmp_path / "part.onnx")
    np.testing.assert_allclose(session.run(["score"], {"frame": frames})[0], expected, rtol=1e-5)
    core = openvino_core()
    model = core.compile_model(tmp_path / "part.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = [float(model({"frame": frame[None]})["score"][0]) for frame in frames]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("target", "precision", "limit"),
    [
        ("onnx", "fp16", 0.01),
        ("onnx", "int8", 0.15),
        ("openvino", "fp16", 0.01),
        ("openvino", "bf16", 0.05),
        ("openvino", "int8", 0.15),
        ("triton", "int8", 0.15),
    ],
)
def test_other_precisions_differ_within_their_limits(
    plain: Path, target: str, precision: str, limit: float, pictures: Path, tmp_path: Path
) -> None:
    report = export(plain, out_of(target, tmp_path), target, pictures, precision=precision, batch=2)
    assert report.folder is not None
    assert 0 < report.folder.score_relative < limit  # 0: it would be the fp32 network
    assert report.limits.flips


def test_int8_ranges_come_from_the_pictures_that_are_named(plain: Path, pictures: Path) -> None:
    engine = Runtime(plain).engine
    made = [
        build_onnx(
            engine,
            make_settings(target="onnx", precision="int8", calibration=folder),
            threads=1,
        ).files[""]
        for folder in (None, pictures, pictures)
    ]
    assert made[0] != made[1] == made[2]


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_openvino_computes_the_network_alone_in_another_precision(
    plain: Path, precision: str
) -> None:
    core = openvino_core()
    capability = precision.upper()
    if capability not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip(f"this processor is not fast in {precision}")
    settings = make_settings(target="openvino", precision=precision, frame_size=SIZE)
    built = build_openvino(Runtime(plain).engine, settings, threads=1)
    model = core.read_model(built.files[".xml"], built.files[".bin"])
    compiled = core.compile_model(model, "CPU", built.about["compile_with"])
    ran: dict[str, set[str]] = {"network": set(), "around it": set()}
    for node in compiled.get_runtime_model().get_ops():
        about = node.get_rt_info()
        if about["layerType"].astype(str) in ("Convolution", "FullyConnected", "MatMul"):
            inside = "network0" in about["originalLayersNames"].astype(str)
            place = "network" if inside else "around it"
            ran[place].add(about["runtimePrecision"].astype(str))
    assert ran["around it"] == {"f32"}
    assert ran["network"] & ({"bf16"} if precision == "bf16" else {"u8", "i8"})


def test_what_differs_is_reported_and_not_written(
    plain: Path, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "part.onnx"
    out.write_bytes(b"an older export")
    settings = make_settings(target="onnx", precision="int8", frame_size=SIZE)
    with pytest.raises(BackendError, match=r"was not written: a score differs by .* tolerance"):
        export_engine(plain, out, settings=settings, verify=pictures, tolerance=1e-6)
    assert out.read_bytes() == b"an older export"
    written = json.loads((tmp_path / "part.onnx.report.json").read_text())
    assert written["tolerance"] == 1e-6
    assert written["folder"]["score_relative"] > 1e-6
    assert any("a map differs" in fault for fault in written["faults"])
    assert len(list(tmp_path.iterdir())) == 2
