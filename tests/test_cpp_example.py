"""The C++ example reads the same engine and gives what Python gives."""

from __future__ import annotations

import fcntl
import importlib.util
import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from engine_factory import (
    Tensors,
    engine_bytes,
    ensemble_engine,
    fod_engine,
    grad_engine,
    put_together,
    reconpatch_engine,
    recontrast_engine,
    refined,
    small_engine,
    take_apart,
)
from format_4_engines import runnable
from PIL import Image
from test_native import ENVIRONMENT, ROOT
from tiny_engine import TinyEngine, write_engine

from pyad_edge import Runtime, read_image
from pyad_edge.engine_manifest import ManifestDraft

CMAKE = shutil.which("cmake", path=ENVIRONMENT["PATH"])


@dataclass(frozen=True)
class Example:
    """The built program."""

    program: Path
    network: str

    def __call__(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.program, *map(str, arguments)], capture_output=True, text=True, check=False
        )

    def record(self, *arguments: object) -> dict[str, object]:
        done = self(*arguments)
        assert done.returncode == 0, done.stderr
        found: dict[str, object] = json.loads(done.stdout)
        return found


def installed(name: str) -> Path | None:
    found = importlib.util.find_spec(name)
    return Path(found.origin).parent if found is not None and found.origin else None


@pytest.fixture(scope="module")
def example() -> Example:
    json_headers, openvino = installed("nlohmann_json"), installed("openvino")
    if CMAKE is None or shutil.which("c++") is None:
        pytest.skip("cmake or a C++ compiler is not installed")
    if json_headers is None:
        pytest.skip("the headers of nlohmann_json are not installed")
    has_openvino = openvino is not None and (openvino / "cmake").is_dir()
    network = "openvino" if has_openvino else "none"
    folder = ROOT / "build" / f"cpp-example-{network}"
    folder.parent.mkdir(exist_ok=True)
    options = [
        f"-DPYAD_EXAMPLE_NETWORK={network}",
        f"-DNLOHMANN_JSON_INCLUDE={json_headers / 'include'}",
        *([f"-DOpenVINO_DIR={openvino / 'cmake'}"] if has_openvino and openvino else []),
        *(["-G", "Ninja"] if shutil.which("ninja", path=ENVIRONMENT["PATH"]) else []),
    ]
    with (folder.parent / "cpp-example.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for step in (
            [CMAKE, "-S", ROOT / "examples" / "cpp", "-B", folder, *options],
            [CMAKE, "--build", folder, "--target", "inspect", "--parallel", "2"],
        ):
            done = subprocess.run(
                step, env=ENVIRONMENT, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stdout + done.stderr
        assert "warning:" not in done.stdout
    return Example(folder / "inspect", network)


def written(features: list[np.ndarray], folder: Path) -> list[str]:
    """Features as files, and the arguments that name them."""
    words = []
    for n, level in enumerate(features):
        path = folder / f"{n}.f32"
        level.astype("<f4").tofile(path)
        words += ["--features", f"{level.shape[1]},{level.shape[2]},{level.shape[3]}:{path}"]
    return words


@pytest.mark.parametrize(
    "settings", [{}, {"scoring": "maximum", "aggregation": "average"}], ids=["paper", "plain"]
)
def test_the_same_bits_given_the_same_features(
    example: Example, tiny: TinyEngine, tmp_path: Path, settings: dict[str, object]
) -> None:
    engine = tiny.path
    if settings:
        engine = write_engine(tmp_path / "x.pyad", tiny.data, tiny.backbone, **settings).path
    runtime = Runtime(engine)
    session = runtime.pipeline.backend.session(1)
    verdicts = set()
    for path in sorted((tiny.data / "test").glob("*/*.png")):
        result = runtime.infer(read_image(path))
        runtime.pipeline.write_input(read_image(path), out=session.input)
        session.run()
        found = example.record(engine, *written(list(session.outputs), tmp_path))
        assert found["score"] == result.score
        assert found["threshold"] == pytest.approx(result.threshold, rel=1e-15)
        assert found["map_maximum"] == pytest.approx(float(result.anomaly_map.max()), rel=1e-6)
        assert found["verdict"] == result.verdict.value
        assert found["nearest"] == vars(result.nearest)
        verdicts.add(found["verdict"])
    assert verdicts == {"OK", "NG"}


@pytest.mark.parametrize("mono", [False, True])
def test_from_the_picture_to_the_verdict(
    example: Example, tiny: TinyEngine, tmp_path: Path, mono: bool
) -> None:
    if example.network == "none":
        pytest.skip("built without a network: OpenVINO's wheel is not installed")
    runtime = Runtime(tiny.path, backend="openvino")
    for n, path in enumerate(sorted((tiny.data / "test").glob("*/*.png"))):
        picture = read_image(path)[: 90 - n, 3:]  # odd sizes
        picture = picture[..., 1] if mono else picture
        Image.fromarray(picture).save(tmp_path / ("p.pgm" if mono else "p.ppm"))
        found = example.record(tiny.path, tmp_path / ("p.pgm" if mono else "p.ppm"))
        result = runtime.infer(picture)
        assert found["score"] == pytest.approx(result.score, rel=1e-5)
        assert found["verdict"] == result.verdict.value
        assert isinstance(found["golden_drift"], float)


def test_damaged_engines_are_refused(example: Example, tiny: TinyEngine, tmp_path: Path) -> None:
    content = tiny.path.read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    odd = tmp_path / "odd.pyad"
    for damage in (
        b"",
        content[:5],
        content[: header - 1],
        content[:-1],
        content + b"\0",
        b"\xff" * 64 + content[64:],
        *(
            content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
            for at in (0, 9, header // 2, header - 1, header, len(content) // 2, len(content) - 1)
        ),
    ):
        odd.write_bytes(damage)
        done = example(odd, "picture.ppm")
        assert done.returncode == 4, done.stdout
        assert done.stdout == ""
        assert done.stderr.startswith(f"Error: [read_engine] {odd} ")


def test_a_reconpatch_engine_runs(example: Example, tmp_path: Path) -> None:
    engine = runnable("reconpatch", tmp_path)
    runtime = Runtime(engine)
    session = runtime.pipeline.backend.session(1)
    rng = np.random.default_rng(0)
    for side in (33, 40, 57):
        picture = rng.integers(0, 256, (side, 48, 3), dtype=np.uint8)
        result = runtime.infer(picture)
        runtime.pipeline.write_input(picture, out=session.input)
        session.run()
        found = example.record(engine, *written(list(session.outputs), tmp_path))
        assert found["score"] == result.score
        assert found["verdict"] == result.verdict.value
        assert found["nearest"] == vars(result.nearest)


@pytest.mark.parametrize(
    ("made", "what"),
    [
        (ensemble_engine(), "is an ensemble of several networks, which this example leaves out"),
        (
            recontrast_engine(),
            "compares an encoder with a decoder (recontrast), which this example",
        ),
        (grad_engine(), "has a network that gives the scores (grad), which this example leaves"),
        (fod_engine(), "correlates patches with a reference (fod), which this example leaves"),
        (refined(*small_engine()), "refines its maps with a second network, which this example"),
    ],
    ids=["ensemble", "recontrast", "grad", "fod", "refined"],
)
def test_engines_of_format_4_that_it_leaves_out(
    example: Example, tmp_path: Path, made: tuple[ManifestDraft, Tensors], what: str
) -> None:
    (tmp_path / "e.pyad").write_bytes(engine_bytes(*made))
    done = example(tmp_path / "e.pyad", "picture.ppm")
    assert done.returncode == 4
    assert what in done.stderr


@pytest.mark.parametrize("change", ["newer", "older", "official"])
def test_manifests_that_contradict_themselves(
    example: Example, tmp_path: Path, change: str
) -> None:
    table, manifest, body = take_apart(engine_bytes(*reconpatch_engine()))
    what = {
        "newer": "has engine format 5, but this reads up to 4",
        "older": "impossible field 'format_version'",
        "official": "a reconpatch network's levels are added",
    }[change]
    if change == "official":
        manifest["head"]["aggregation"] = {"variant": change, "pre_dim": 8, "target_dim": 8}
    else:
        manifest["format_version"] = 5 if change == "newer" else 1
    (tmp_path / "e.pyad").write_bytes(put_together(table, manifest, body))
    done = example(tmp_path / "e.pyad", "picture.ppm")
    assert done.returncode == 4
    assert what in done.stderr


def test_engines_that_it_leaves_out_are_refused(example: Example) -> None:
    for name, what in (("v2", "approximate index"), ("v3", "declares its input")):
        done = example(ROOT / "tests" / "engines" / f"{name}_patchcore.pyad", "picture.ppm")
        assert done.returncode == 4
        assert what in done.stderr


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "is not there, or no PPM or PGM"),
        (b"P6\n16 16\n255\n" + bytes(5), "has 18 bytes instead of 781"),
        (b"P5\n16 16\n65535\n" + bytes(512), "largest value of 65535"),
        (b"P5\n4 16\n255\n" + bytes(64), "has a side of 4 pixels"),
        (b"P6\nx", "damaged header"),
    ],
)
def test_pictures_that_cannot_be_read(
    example: Example, tiny: TinyEngine, tmp_path: Path, content: bytes, what: str
) -> None:
    (tmp_path / "odd.ppm").write_bytes(content)
    done = example(tiny.path, tmp_path / "odd.ppm")
    assert done.returncode == 3
    assert what in done.stderr


def test_a_command_line_that_cannot_be_used(example: Example, tiny: TinyEngine) -> None:
    for words in ((), (tiny.path,), (tiny.path, "--features", "1,2:x"), (tiny.path, "a", "b")):
        done = example(*words)
        assert done.returncode == 2
        assert done.stderr.startswith("Error: ")
