"""Bench and prepare on engines that declare their frames."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import call
from declared import declared_engine, texture

from pyad_edge import Runtime
from pyad_edge.bench.session import load_frames
from pyad_edge.engine import read_engine
from pyad_edge.export.frame_settings import FrameSettings
from pyad_edge.images import list_images
from pyad_edge.prepare import calibration_batch
from pyad_edge.preprocessing import to_batch
from pyad_edge.workspace import WorkspacePool

SIZE = (290, 301)  # larger than a golden frame


def mosaic(seed: int) -> np.ndarray[Any, Any]:
    """RGGB: red everywhere, hardly any green, no blue."""
    frame = texture(SIZE, seed, channels=1)[..., 0] // 8
    frame[::2, ::2] += 200
    frame[1::2, 1::2] = 0
    return frame


@pytest.mark.parametrize("policy", ["error", "resize", "letterbox", "tile"])
def test_bench_takes_golden_frames_at_the_size_of_the_line(tmp_path: Path, policy: str) -> None:
    tiles = {"tile": (128, 128), "overlap": (64, 64)} if policy == "tile" else {}
    frames = FrameSettings("BayerRG8", size_policy=policy, **tiles)  # type: ignore[arg-type]
    path = declared_engine(tmp_path, frames, size=SIZE, make=mosaic, coreset=0.05)
    runtime = Runtime(path)
    golden, what = load_frames(runtime, None)
    assert what.endswith("to 301 x 290 pixels")
    assert {frame.shape for frame in golden} == {SIZE}
    picture = runtime.picture(golden[0])[2:-2, 2:-2]  # a mosaic still: red, no blue
    assert picture[..., 0].min() >= 150
    assert picture[..., 2].max() == 0
    answer = call(
        "bench", path, "--seconds", 0, "--queries", 2, "--together", 2, "--clock", "own",
        "--decide", "--json", tmp_path / "bench.json",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    content = json.loads((tmp_path / "bench.json").read_text())
    assert content["frames"] == what
    runs = runtime.pipeline.network_runs(SIZE)
    assert runs == (16 if policy == "tile" else 1)
    assert content["backbone"]["ratio"] > 0


def test_the_network_alone_runs_once_per_tile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pyad_edge.bench import measure

    frames = FrameSettings(size_policy="tile", tile=(64, 64), overlap=(16, 16))
    runtime = Runtime(declared_engine(tmp_path, frames))
    session = runtime.pipeline.backend.session(1)
    calls, run = [], session.run

    class Counted:
        input, outputs = session.input, session.outputs

        def run(self) -> None:
            calls.append(1)
            run()

    monkeypatch.setattr(runtime.pipeline.backend, "session", lambda batch: Counted())
    # Opening left workspaces, whose sessions nobody counts.
    monkeypatch.setattr(runtime.pipeline, "_workspaces", WorkspacePool(runtime.pipeline.backend))
    runtime.infer(frame := texture((96, 112), 1))
    of_infer = len(calls)
    assert of_infer == runtime.pipeline.network_runs((96, 112)) == 4
    calls.clear()
    measure.backbone_alone(runtime, [frame], rounds=1)
    assert len(calls) == 2 * 4 * (measure.BLOCK + measure.SETTLE)


def test_int8_is_calibrated_on_what_the_network_sees(tmp_path: Path) -> None:
    letterbox = declared_engine(
        tmp_path / "letterbox", FrameSettings(size_policy="letterbox", padding=0), size=(96, 48)
    )
    files = list_images(tmp_path / "letterbox" / "good")
    batch = calibration_batch(files, read_engine(letterbox))
    assert batch.shape == (10, 3, 64, 64)
    rim = batch[:, :, :, :16]
    assert (rim == rim[:1, :, :1, :1]).all()  # the padding, not a stretched picture
    assert batch[:, :, :, 16:48].std() > 0.1
    tiles = FrameSettings(size_policy="tile", tile=(64, 64), overlap=(32, 32))
    tiled = declared_engine(tmp_path / "tile", tiles)
    found = calibration_batch(list_images(tmp_path / "tile" / "good"), read_engine(tiled))
    preprocessing = read_engine(tiled).manifest.preprocessing
    for n, corner in enumerate([(0, 0), (0, 32), (32, 0), (32, 32), (0, 0)]):
        piece = texture((96, 96), n)[corner[0] : corner[0] + 64, corner[1] : corner[1] + 64]
        wanted = to_batch([np.ascontiguousarray(piece)], preprocessing)[0]
        np.testing.assert_array_equal(found[n], wanted)
