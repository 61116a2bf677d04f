"""A line goes on where it can, and says in a sentence why where it cannot."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import typer
from command_line import call
from PIL import Image
from tiny_engine import TinyEngine

from pyad_edge import DataError, ResourceError, Runtime
from pyad_edge.console import run_app
from pyad_edge.loop import inspect_stream, prepare_folder, save_picture
from pyad_edge.stream import open_source


def with_level(level: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """A process of its own: the variable is read once."""
    command = [sys.executable, "-m", "pyad_edge", *map(str, arguments)]
    environment = os.environ | {"PYAD_CPU_LEVEL": level}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_an_unknown_cpu_level_is_a_setting(tiny: TinyEngine) -> None:
    done = with_level("sse9", "run", tiny.path, "--source", tiny.data / "test/good")
    assert (done.returncode, done.stdout) == (2, "")
    assert "got 'sse9'. Choose one of these, or unset PYAD_CPU_LEVEL" in done.stderr
    assert "Traceback" not in done.stderr
    code = "import sys, pyad_edge; pyad_edge.Runtime(sys.argv[1])"
    environment = os.environ | {"PYAD_CPU_LEVEL": "sse9"}
    command = [sys.executable, "-c", code, str(tiny.path)]
    python = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert "SettingError: [PYAD_CPU_LEVEL]" in python.stderr


def test_doctor_finds_an_unknown_cpu_level() -> None:
    done = with_level("sse9", "doctor", "--json")
    assert done.returncode == with_level("sse9", "doctor").returncode == 1
    found = {f["name"]: f for f in json.loads(done.stdout)}
    for name in ("cpu kernels", "self-test"):
        assert found[name]["state"] == "broken"
        assert "unset PYAD_CPU_LEVEL" in found[name]["detail"]
    assert found["backend onnxruntime"]["state"] == "ok"
    assert with_level("portable", "doctor").returncode == 0


def test_any_failure_on_a_frame_is_a_fault_and_the_stream_goes_on(
    tiny: TinyEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = Runtime(tiny.path)
    infer, errors = runtime.infer, [cv2.error("broken"), MemoryError(), RuntimeError("odd")]

    def failing(frame: np.ndarray) -> object:
        if errors:
            raise errors.pop()
        return infer(frame)

    monkeypatch.setattr(runtime, "infer", failing)
    good = sorted((tiny.data / "train/good").iterdir())[:4]
    with open_source(tiny.data / "train/good") as frames:
        records = [next(stream) for stream in [inspect_stream(runtime, frames)] for _ in good]
    assert [r["verdict"] == "FAULT" for r in records] == [True, True, True, False]
    assert [r["error"] for r in records[:3]] == [
        "[infer] unexpected RuntimeError: odd",
        "[infer] the memory of this machine is used up. Close other programs.",
        "[infer] unexpected error: broken",
    ]

    def stop(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(runtime, "infer", stop)
    with open_source(good[0]) as frames, pytest.raises(KeyboardInterrupt):
        next(inspect_stream(runtime, frames))


def test_an_overlay_that_cannot_be_written_costs_no_verdict(
    tiny: TinyEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    options = ("--source", tiny.data / "test/good", "--save", tmp_path / "o")
    answer = call("run", tiny.path, *options)
    records = [json.loads(line) for line in answer.out.splitlines()]
    assert (answer.code, len(records)) == (0, 3)
    for record in records:
        assert record["verdict"] in ("OK", "NG")
        assert "No space left on device. Free some space" in record["overlay_error"]
        assert "overlay" not in record
    assert "3 overlays are missing" in answer.err
    assert list((tmp_path / "o").iterdir()) == []


def test_a_folder_that_cannot_be_made_is_refused_before_the_first_frame(tiny: TinyEngine) -> None:
    options = ("--source", tiny.data / "test/good", "--save", "/proc/overlays")
    answer = call("run", tiny.path, *options)
    assert (answer.code, answer.out) == (3, "")
    assert "/proc/overlays could not be written: No such file" in answer.sentence


@pytest.mark.parametrize(
    ("number", "error", "advice"),
    [
        (errno.ENOSPC, ResourceError, "Free some space"),
        (errno.EDQUOT, ResourceError, "Free some space"),
        (errno.EIO, ResourceError, "check it"),
        (errno.EACCES, DataError, "may write to"),
        (errno.ENOENT, DataError, "may write to"),
        (errno.ENOTDIR, DataError, "Choose another"),
    ],
)
def test_what_the_disk_says_decides_the_advice(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    error: type[Exception],
    advice: str,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "mkdir", fail)
    for write in (
        lambda: prepare_folder(tmp_path / "o"),
        lambda: save_picture(tmp_path / "o/a.png", np.zeros((4, 4, 3), np.uint8)),
    ):
        with pytest.raises(error, match=rf"\[save\] .* could not .*{advice}") as caught:
            write()
        assert str(tmp_path / "o") in str(caught.value)
        reason = "is not a folder" if number == errno.ENOTDIR else os.strerror(number)
        assert reason in str(caught.value)


def test_a_picture_cut_short_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save_picture(tmp_path / "a.png", np.full((4, 4, 3), 7, np.uint8))

    def cut(_: object, target: Path, **__: object) -> None:
        target.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", cut)
    with pytest.raises(ResourceError):
        save_picture(path, np.zeros((4, 4, 3), np.uint8))
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
    assert np.asarray(Image.open(path)).max() == 7


@pytest.mark.parametrize(
    ("error", "words", "traced"),
    [
        (
            PermissionError(13, "Permission denied", "/x/y"),
            "Permission denied (/x/y). Check",
            False,
        ),
        (OSError(errno.EIO, "Input/output error"), "Input/output error. Check", False),
        (KeyError("rows"), "KeyError: 'rows'. Please report it", True),
    ],
)
def test_the_unexpected_has_a_sentence_and_code_1(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    words: str,
    traced: bool,
) -> None:
    app = typer.Typer()

    @app.command()
    def fail() -> None:
        raise error

    monkeypatch.setattr(sys, "argv", ["pyad-edge"])
    assert run_app(app) == 1
    text = capsys.readouterr().err
    assert words in " ".join(text.split())
    assert text.startswith("Error: ")
    assert ("Traceback" in text) == traced
