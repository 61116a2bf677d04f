"""``pyad-edge run`` with several sources, sinks, a band for review, the gate, decisions."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from command_line import call
from PIL import Image
from tiny_engine import TinyEngine

from pyad_edge import SettingError
from pyad_edge.run_command import parse_gate, parse_sources


def records(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_several_sources_have_names(tiny: TinyEngine, tmp_path: Path) -> None:
    options = ("--source", f"left={tiny.data / 'test/good'}")
    options += ("--source", f"right={tiny.data / 'test/stain'}", "--save", str(tmp_path / "o"))
    answer = call("run", tiny.path, *options)
    assert answer.code == 0, answer.err
    found = records(answer.out)
    assert sorted((r["camera"], r["frame"]) for r in found) == [
        ("left", 0),
        ("left", 1),
        ("left", 2),
        ("right", 0),
    ]
    assert len(list((tmp_path / "o/left").iterdir())) == 3
    assert len(list((tmp_path / "o/right").iterdir())) == 1
    assert "4 frames: " in answer.err


def test_a_band_for_review_is_in_lines_and_summary(tiny: TinyEngine) -> None:
    low, high = sorted(tiny.scores.values())[2], sorted(tiny.scores.values())[-3]
    data = tiny.data / "test"
    options = [
        part for kind in sorted(data.iterdir()) for part in ("--source", f"{kind.name}={kind}")
    ]
    answer = call("run", tiny.path, "--threshold", high, "--review", low, *options)
    verdicts = [r["verdict"] for r in records(answer.out)]
    review = len(tiny.scores) - 5
    assert {v: verdicts.count(v) for v in ("OK", "REVIEW", "NG")} == {
        "OK": 3,
        "REVIEW": review,
        "NG": 2,
    }
    assert f"3 OK, {review} for review, 2 anomalous, 0 faults." in answer.err
    refused = call("run", tiny.path, "--threshold", high, "--review", high, *options)
    assert (refused.code, refused.out) == (2, "")
    assert "a score below the threshold" in refused.sentence


def test_sinks_get_what_stdout_gets(tiny: TinyEngine, tmp_path: Path) -> None:
    sinks = [f"jsonl:{tmp_path / 'a.jsonl'}", f"csv:{tmp_path / 'a.csv'}"]
    sinks += [f"overlays:{tmp_path / 'pictures'}"]
    options = [part for sink in sinks for part in ("--sink", sink)]
    options += ["--outbox", str(tmp_path / "outbox"), "--source", str(tiny.data / "test/good")]
    answer = call("run", tiny.path, *options)
    assert answer.code == 0, answer.err
    lines = (tmp_path / "a.jsonl").read_text("utf-8")
    assert records(lines) == records(answer.out)
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == [r["name"] for r in records(answer.out)]
    assert len(list((tmp_path / "pictures").iterdir())) == 3
    for sink in sinks:
        assert f"{sink}: 3 written." in answer.err
    refused = call("run", tiny.path, "--sink", "ftp:a", "--source", tiny.data / "test/good")
    assert (refused.code, refused.out) == (2, "")
    assert "expected jsonl:FILE" in refused.sentence


def test_a_broker_that_is_away_costs_no_verdict(tiny: TinyEngine, tmp_path: Path) -> None:
    pytest.importorskip("paho.mqtt.client")
    options = ("--sink", "mqtt://127.0.0.1:9/line", "--outbox", tmp_path)
    answer = call("run", tiny.path, *options, "--source", tiny.data / "test/good")
    assert (answer.code, len(records(answer.out))) == (0, 3)
    assert "0 written, 3 wait on disk for the next start." in answer.err


def test_decisions_are_those_of_the_full_search(tiny: TinyEngine) -> None:
    source = ("--source", tiny.data / "test/good")
    full, fast = (
        call("run", tiny.path, *source),
        call("run", tiny.path, "--mode", "decide", *source),
    )
    assert (full.code, fast.code) == (0, 0), fast.err
    for one, other in zip(records(full.out), records(fast.out), strict=True):
        assert one["verdict"] == other["verdict"]
        assert other["settled"] in ("early", "search")
        assert "regions" not in other
    refused = call("run", tiny.path, "--mode", "decide", "--save", "o", *source)
    assert (refused.code, "--save shows maps" in refused.sentence) == (2, True)


def test_the_gate_names_what_is_wrong(tiny: TinyEngine, tmp_path: Path) -> None:
    Image.fromarray(np.zeros((96, 96, 3), np.uint8)).save(tmp_path / "dark.png")
    answer = call("run", tiny.path, "--source", tmp_path)
    (record,) = records(answer.out)
    assert (answer.code, record["verdict"], record["fault"]) == (7, "FAULT", "black")
    assert "1 faults (1 black)." in answer.err
    for off in ("off", "white,frozen"):
        answer = call("run", tiny.path, "--source", tmp_path, "--gate", off)
        assert records(answer.out)[0]["verdict"] in ("OK", "NG"), off
    refused = call("run", tiny.path, "--source", tmp_path, "--gate", "white,dark")
    assert (refused.code, "got 'dark'" in refused.sentence) == (2, True)


def test_backends_masks_and_formats_reach_the_runtime(tiny: TinyEngine, tmp_path: Path) -> None:
    source = ("--source", tiny.data / "test/good", "--max-frames", 1)
    for wrong in (
        ("--backend", "tensorflow"),
        ("--precision", "fp7"),
        ("--device", "tpu"),
        ("--size-policy", "shrink"),
        ("--pixel-format", "RGB99"),
        ("--deadline-ms", 0),
        ("--review", 0.0001),
    ):
        answer = call("run", tiny.path, *source, *wrong)
        assert (answer.code, answer.out) == (2, ""), answer.err
        assert answer.sentence.endswith(".")
    mask = np.zeros((96, 96), np.uint8)
    mask[:24, :] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    answer = call("run", tiny.path, *source, "--mask", tmp_path / "mask.png")
    whole = call("run", tiny.path, *source)
    assert (answer.code, whole.code) == (0, 0), answer.err
    assert records(answer.out)[0]["score"] != records(whole.out)[0]["score"]


def test_sources_and_checks_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert parse_sources(["camera:0"]) == "camera:0"
    assert parse_sources(["left=camera:0"]) == {"left": "camera:0"}
    assert parse_sources(["a=rtsp://h/x?y=1", "b=2"]) == {"a": "rtsp://h/x?y=1", "b": "2"}
    assert parse_sources(["rtsp://h/x?y=1"]) == "rtsp://h/x?y=1"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a=b").mkdir()
    assert parse_sources(["a=b"]) == "a=b", "a folder of that name"
    for wrong in (["camera:0", "camera:1"], ["a=1", "a=2"], ["a=1", "2"]):
        with pytest.raises(SettingError, match="a name each"):
            parse_sources(wrong)
    chosen = parse_gate("black,frozen")
    assert chosen is not None and chosen != "auto"  # noqa: PT018 - narrows the type
    assert (chosen.black, chosen.frozen, chosen.white, chosen.torn) == (True, True, False, False)
    assert (parse_gate("auto"), parse_gate("off")) == ("auto", None)
