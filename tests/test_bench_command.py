"""pyad-edge bench on a tiny engine: what it prints, writes, draws and refuses."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import call
from PIL import Image
from tiny_engine import TinyEngine

from pyad_edge.bench import loadgen
from pyad_edge.bench.loadgen import read_summary, run_loadgen
from pyad_edge.bench.plot import draw_plot
from pyad_edge.errors import ResourceError, SettingError

QUICK = ("--seconds", "0.05", "--queries", "20", "--together", "2")
LATENCY = {"count", "p50", "p90", "p99", "p99_9", "max", "mean", "jitter"}
needs_loadgen = pytest.mark.skipif(
    not loadgen.has_loadgen(), reason="needs mlcommons-loadgen, of the extra [bench]"
)
needs_matplotlib = pytest.mark.skipif(
    importlib.util.find_spec("matplotlib") is None, reason="needs matplotlib, of the extra [bench]"
)


def bench(engine: Path, folder: Path, *options: object) -> tuple[dict[str, Any], str]:
    """The report of a run that must succeed, and what was printed."""
    file = folder / "bench.json"
    answer = call("bench", engine, *QUICK, "--json", file, *options)
    assert answer.code == 0, answer.err
    return json.loads(file.read_text()), answer.out


def ordered(latency: dict[str, float]) -> bool:
    names = ("p50", "p90", "p99", "p99_9", "max")
    return set(latency) == LATENCY and sorted(latency[n] for n in names) == [
        latency[n] for n in names
    ]


def test_our_own_loop_writes_every_figure(tiny: TinyEngine, tmp_path: Path) -> None:
    options = ("--clock", "own", "--fps", "200", "--deadline", "1e3", "--threads", "1")
    content, text = bench(tiny.path, tmp_path, *options)
    assert {run["scenario"]: run["frames"] for run in content["runs"]}.keys() == {
        "SingleStream",
        "MultiStream",
        "Offline",
    }
    assert {run["clock"] for run in content["runs"]} == {"own loop"}
    assert "clock: own loop" in text
    for run in content["runs"]:
        assert run["frames"] >= 20
        assert run["frames_per_second"] > 0
        assert (
            run["latency_ms"] is None
            if run["scenario"] == "Offline"
            else ordered(run["latency_ms"])
        )
    (camera,) = content["camera"]
    assert ordered(camera["latency_ms"])
    assert (camera["fps"], camera["deadline_ms"], camera["frames"]) == (200.0, 1000.0, 20)
    assert camera["deadline_misses"] == 0
    assert content["engine"]["bank"] == list(tiny.model.bank.shape)
    assert content["machine"]["kernel_threads"] == 1
    assert content["backend"]["threads"] == 1
    assert set(content["load"]) == {"before", "after"}
    assert content["memory_mb"]["peak"] >= content["memory_mb"]["warm"] > 0
    assert content["power_watts"] is None or all(content["power_watts"].values())
    assert ("power: not readable here" in text) == (content["power_watts"] is None)
    stages = content["stages_ms"]
    assert {"preprocess", "backbone", "head", "map", "total"} <= set(stages)
    alone = content["backbone"]
    assert alone["low"] <= alone["ratio"] <= alone["high"]
    assert ordered(alone["infer"])
    assert ordered(alone["alone"])
    assert "golden frames" in content["frames"]


def test_decide_has_lines_of_its_own(tiny: TinyEngine, tmp_path: Path) -> None:
    options = ("--clock", "own", "--decide", "--scenario", "SingleStream", "--fps", "500")
    content, text = bench(tiny.path, tmp_path, *options)
    assert [(run["scenario"], run["mode"]) for run in content["runs"]] == [
        ("SingleStream", "infer"),
        ("SingleStream", "decide"),
    ]
    assert [run["mode"] for run in content["camera"]] == ["infer", "decide"]
    assert 0.0 <= content["settled_early"] <= 1.0
    assert "camera, 500 fps, decide" in text
    assert "…" not in text  # nothing is cut off in 80 columns


@needs_loadgen
def test_loadgen_is_the_clock_where_it_is_installed(tiny: TinyEngine, tmp_path: Path) -> None:
    content, text = bench(tiny.path, tmp_path, "--source", tiny.data / "test")
    assert f"clock: {loadgen.loadgen_clock()}" in text
    for run in content["runs"]:
        assert run["clock"] == loadgen.loadgen_clock()
        assert run["loadgen_verdict"] in ("VALID", "INVALID")
        assert run["frames_per_second"] > 0
        if run["scenario"] != "Offline":
            assert ordered(run["latency_ms"])
    offline = content["runs"][-1]
    assert (offline["scenario"], offline["frames"]) == ("Offline", 40)


@needs_loadgen
def test_a_frame_that_fails_under_loadgen_ends_the_run_with_its_reason() -> None:
    seen = []

    def answer(numbers: object) -> None:
        seen.append(numbers)
        raise SettingError("this frame cannot be judged")

    with pytest.raises(SettingError, match="this frame cannot be judged"):
        run_loadgen(
            "SingleStream", answer, frames=2, together=1, queries=5, seconds=0.01, expected=1e-3
        )
    assert len(seen) == 1


def test_without_loadgen_our_own_loop_takes_its_place(
    tiny: TinyEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loadgen, "MODULE", "no_such_module")
    content, text = bench(tiny.path, tmp_path, "--scenario", "SingleStream")
    assert [(run["scenario"], run["clock"]) for run in content["runs"]] == [
        ("SingleStream", "own loop")
    ]
    assert "clock: own loop" in text
    refused = call("bench", tiny.path, "--clock", "loadgen")
    assert refused.code == 2
    assert "pip install 'pyad_edge[bench]'" in refused.sentence


def test_a_summary_is_read_in_our_units() -> None:
    text = (
        "Result is : INVALID\n  Min queries satisfied : Yes\nSamples per second: 43.5\n"
        "Max latency (ns)                : 2500000\n50.00 percentile latency (ns)   : 1000000\n"
    )
    assert read_summary(text) == (
        {"p50": 1.0, "max": 2.5, "frames_per_second": 43.5},
        "INVALID",
    )
    with pytest.raises(ResourceError, match="no line 'Result is'"):
        read_summary("Scenario : Offline\n")


@needs_matplotlib
def test_the_plot_is_a_picture(tiny: TinyEngine, tmp_path: Path) -> None:
    plot = tmp_path / "bench.png"
    bench(tiny.path, tmp_path, "--clock", "own", "--fps", "100", "--plot", plot)
    with Image.open(plot) as picture:
        assert picture.format == "PNG"
        assert picture.size == (1500, 1050)
        pixels = np.asarray(picture.convert("L"))
    assert 0.01 < (pixels < 250).mean() < 0.5  # neither empty nor filled


@needs_matplotlib
def test_the_plot_tells_runs_apart(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    traces = {name: rng.gamma(4, size=200) for name in ("one", "two")}
    draw_plot(tmp_path / "two.png", traces, title="two runs", deadline=4.0)
    with Image.open(tmp_path / "two.png") as picture:
        colors = {color for _, color in picture.convert("RGB").getcolors(1 << 20) or []}
    assert {(0, 114, 178), (213, 94, 0)} <= colors


def test_an_engine_that_does_not_open_is_not_timed(tiny: TinyEngine, tmp_path: Path) -> None:
    broken = tmp_path / "broken.pyad"
    data = bytearray(tiny.path.read_bytes())
    data[-1] ^= 1
    broken.write_bytes(data)
    answer = call("bench", broken, *QUICK, "--json", tmp_path / "bench.json")
    assert answer.code == 4
    assert "broken.pyad" in answer.sentence
    assert [path.name for path in tmp_path.iterdir()] == ["broken.pyad"]


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        (("--fps", "0"), 2, "--fps above 0"),
        (("--deadline", "5"), 2, "needs --fps"),
        (("--fps", "5", "--deadline", "nan"), 2, "--deadline above 0"),
        (("--seconds", "-1"), 2, "--seconds from 0"),
        (("--json", "/no/such/folder/a.json"), 3, "--json does not exist"),
        (("--plot", "plot.pdf"), 2, "expected a .png"),
        (("--source", "/no/such/folder"), 3, "does not exist"),
        (("--backend", "abacus"), 2, "abacus"),
    ],
)
def test_what_cannot_be_measured_is_refused_first(
    tiny: TinyEngine, options: tuple[str, ...], code: int, sentence: str
) -> None:
    if options[0] == "--plot" and importlib.util.find_spec("matplotlib") is None:
        pytest.skip("needs matplotlib, of the extra [bench]")
    answer = call("bench", tiny.path, *options)
    assert answer.code == code
    assert sentence in " ".join(answer.sentence.split())


def test_a_folder_without_pictures_is_refused(tiny: TinyEngine, tmp_path: Path) -> None:
    answer = call("bench", tiny.path, "--source", tmp_path)
    assert answer.code == 3
    assert "has no pictures" in answer.sentence
