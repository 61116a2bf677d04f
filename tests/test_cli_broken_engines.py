"""Engines, sources and data that a command refuses to open."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import call
from tiny_engine import TinyEngine


@pytest.mark.parametrize("command", ["info", "run", "eval"])
@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda data: data[:-1], "is cut off"),
        (lambda data: data[:100], "is cut off"),
        (lambda data: data[: len(data) // 2], "is cut off"),
        (lambda _: b"", "is empty"),
        (lambda _: b"\xff\xd8\xff\xe0 JFIF" + bytes(100), "begins like a JPEG picture"),
        (lambda data: data[:-50] + bytes([data[-50] ^ 1]) + data[-49:], "does not match its SHA"),
        (lambda data: data[:900] + bytes([data[900] ^ 4]) + data[901:], "damaged"),
        (None, "does not exist"),
    ],
    ids=["last byte", "header", "half", "empty", "jpeg", "tensor bit", "header bit", "missing"],
)
def test_engines_that_are_none(
    tiny: TinyEngine, tmp_path: Path, command: str, damage: object, sentence: str
) -> None:
    path = tmp_path / "e.pyad"
    if callable(damage):
        path.write_bytes(damage(tiny.path.read_bytes()))
    where = {"run": ("--source", tiny.data / "test/good"), "eval": ("--data", tiny.data)}
    answer = call(command, path, *where.get(command, ()))
    assert (answer.code, answer.out) == (4, "")
    assert sentence in answer.sentence
    assert str(path) in answer.sentence


def test_sources_thresholds_and_data_that_cannot_be_used(tiny: TinyEngine, tmp_path: Path) -> None:
    good = tiny.data / "test/good"
    cases = [
        (("run", "--source", tmp_path), 3, "holds no pictures"),
        (("run", "--source", tmp_path / "x.mp4"), 3, "there is no"),
        (("run", "--source", good, "--threshold", "nan"), 2, "finite threshold, got nan"),
        (("run", "--source", good, "--false-reject", 0), 2, "got 0.0"),
        (("run", "--source", good, "--false-reject", 0.1, "--threshold", 1), 2, "not both"),
        (("run", "--source", good, "--save", tiny.path), 3, "is not a folder"),
        (("run", "--source", good, "--max-frames", 0), 2, "'--max-frames'"),
        (("eval", "--data", tiny.data / "train"), 3, "holds no test pictures"),
        (("eval", "--data", tiny.path), 3, "is a file"),
        (("eval", "--data", tiny.data, "--save", tiny.path), 3, "is not a folder"),
    ]
    for (command, *options), code, sentence in cases:
        answer = call(command, tiny.path, *options)
        assert sentence in answer.sentence
        assert answer.code == code
