"""The self-test's checks, its record, and what a changed record is worth."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path

import pytest
from command_line import call
from tiny_engine import TinyEngine

from pyad_edge.engine_format import canonical_json
from pyad_edge.selftest.checks import _without_secrets
from pyad_edge.trust.keys import generate_keys, private_key


@pytest.fixture
def parts(tiny: TinyEngine, tmp_path: Path) -> Path:
    folder = tmp_path / "parts"
    shutil.copytree(tiny.data / "test/good", folder / "good")
    (folder / "ng").mkdir()
    worst = max(tiny.scores, key=lambda name: tiny.scores[name])
    shutil.copy(worst, folder / "ng" / "worst.png")
    return folder


def limit(tiny: TinyEngine) -> float:
    """Above every good test picture, below the worst one."""
    return sorted(tiny.scores.values())[-1] * 0.9999


def test_a_signed_record_says_what_was_checked(
    tiny: TinyEngine, parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYAD_EDGE_PASSPHRASE", raising=False)
    key, record = tmp_path / "line.pem", tmp_path / "r.json"
    public, _ = generate_keys(key)
    answer = call(
        "selftest", tiny.path, "--camera", tiny.data / "train/good", "--parts", parts,
        "--frames", 5, "--key", key, "--out", record, "--threshold", limit(tiny),
    )  # fmt: skip
    assert answer.code == 0, answer.err
    report = json.loads(record.read_text())["report"]
    checks = {check["name"]: check for check in report["checks"]}
    assert set(checks) == {"engine", "golden", "camera", "inputs", "parts"}
    assert checks["golden"]["figures"]["drift"] <= checks["golden"]["figures"]["tolerance"]
    assert checks["golden"]["figures"]["scores"] == pytest.approx(
        checks["golden"]["figures"]["expected"], rel=1e-3
    )
    assert checks["camera"]["figures"]["frames"] == 5
    assert checks["parts"]["figures"]["verdicts"]["ng/worst.png"] == "NG"
    assert "level" in report["host"]
    assert "4 of 4 parts" in answer.out

    verified = call("selftest", "--verify", record, "--keys", public)
    assert (verified.code, "4 of 4 parts" in verified.out) == (0, True)
    other, _ = generate_keys(tmp_path / "other.pem")
    refused = call("selftest", "--verify", record, "--keys", other)
    assert (refused.code, "was not signed by a key" in refused.sentence) == (3, True)

    # Every kind of change is noticed, and so is a signature made for another end.
    whole = json.loads(record.read_text())
    for check in whole["report"]["checks"]:
        check["passed"] = not check["passed"]
    record.write_text(canonical_json(whole) + "\n")
    refused = call("selftest", "--verify", record, "--keys", public)
    assert (refused.code, "changed" in refused.sentence) == (3, True)
    foreign = b"pyad_edge engine signature, format 1\n" + canonical_json(whole["report"]).encode()
    whole["signature"] = base64.b64encode(private_key(key).sign(foreign)).decode()
    record.write_text(canonical_json(whole) + "\n")
    assert call("selftest", "--verify", record, "--keys", public).code == 3
    record.write_text(json.dumps(whole))
    assert "no record" in call("selftest", "--verify", record, "--keys", public).sentence


def test_what_fails_is_named_and_recorded(tiny: TinyEngine, parts: Path, tmp_path: Path) -> None:
    record = tmp_path / "r.json"
    (parts / "good" / "bad.png").write_bytes(b"no picture")
    answer = call(
        "selftest", tiny.path, "--camera", tmp_path / "none", "--parts", parts, "--out", record,
        "--threshold", limit(tiny),
    )  # fmt: skip
    assert answer.code == 1
    assert "Failed: camera, parts." in answer.err
    checks = {c["name"]: c for c in json.loads(record.read_text())["report"]["checks"]}
    assert {name: check["passed"] for name, check in checks.items()} == {
        "engine": True,
        "golden": True,
        "camera": False,
        "parts": False,
    }
    assert checks["parts"]["figures"]["verdicts"]["good/bad.png"] == "FAULT"
    public, _ = generate_keys(tmp_path / "k.pem")
    unsigned = call("selftest", "--verify", record, "--keys", public)
    assert (unsigned.code, "not signed" in unsigned.sentence) == (3, True)


def test_an_engine_that_is_damaged_leaves_a_record(tiny: TinyEngine, tmp_path: Path) -> None:
    engine, record = tmp_path / "part.pyad", tmp_path / "r.json"
    data = bytearray(tiny.path.read_bytes())
    data[-1] ^= 1
    engine.write_bytes(data)
    answer = call("selftest", engine, "--out", record)
    assert (answer.code, "Failed: engine." in answer.err) == (1, True)
    report = json.loads(record.read_text())["report"]
    assert report["engine_sha256"] is None
    assert [check["name"] for check in report["checks"]] == ["engine"]


def test_options_that_do_not_go_together(tiny: TinyEngine, tmp_path: Path) -> None:
    for options in ((), (tiny.path,), ("--verify", "r.json"), (tiny.path, "--verify", "r.json")):
        answer = call("selftest", *options)
        assert (answer.code, "[selftest]" in answer.sentence) == (2, True)
    answer = call("selftest", tiny.path, "--out", tmp_path / "no" / "r.json")
    assert (answer.code, "folder that exists" in answer.sentence) == (2, True)
    answer = call("selftest", tiny.path, "--out", tmp_path / "r.json", "--key", tmp_path / "none")
    assert (answer.code, "does not exist" in answer.sentence) == (2, True)


def test_addresses_are_recorded_without_secrets() -> None:
    assert _without_secrets("rtsp://user:word@line/1?token=3") == "rtsp://line/1"
    assert _without_secrets("camera:0") == "camera:0"
