"""Frame sources: every frame or its fault, nothing skipped, everything released."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pyad_edge import stream
from pyad_edge.errors import DataError
from pyad_edge.stream import open_source

RED, GREY = (255, 0, 0), (90, 90, 90)


def picture(path: Path, rgb: tuple[int, int, int]) -> None:
    cv2.imwrite(str(path), np.full((16, 24, 3), rgb[::-1], np.uint8))


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """12 frames, red then blue, MJPEG in AVI: OpenCV's wheels write and read it everywhere."""
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (64, 48))
    assert writer.isOpened()
    for index in range(12):
        bgr = (0, 0, 255) if index < 6 else (255, 0, 0)
        writer.write(np.full((48, 64, 3), bgr, np.uint8))
    writer.release()
    return path


def test_folder_in_order_with_its_faults(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", RED)
    (tmp_path / "b.png").write_bytes(b"")
    picture(tmp_path / "c.png", GREY)
    before = time.time()
    with open_source(tmp_path) as source:
        assert (source.kind, source.length) == ("folder", 3)
        frames = list(source)
    assert [f.index for f in frames] == [0, 1, 2]
    assert [Path(f.name).name for f in frames] == ["a.png", "b.png", "c.png"]
    assert all(before <= f.timestamp <= time.time() for f in frames)
    assert frames[0].error is None
    assert frames[0].image is not None
    assert tuple(frames[0].image[0, 0]) == RED
    assert frames[1].image is None
    assert "b.png is empty" in str(frames[1].error)
    assert frames[2].image is not None


def test_single_picture(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", RED)
    with open_source(str(tmp_path / "a.png")) as source:
        frames = list(source)
    assert (source.kind, source.length, len(frames)) == ("image", 1, 1)
    assert frames[0].image is not None
    assert frames[0].image.shape == (16, 24, 3)


def test_video_is_rgb_and_complete(video: Path) -> None:
    with open_source(video) as source:
        assert (source.kind, source.length) == ("video", 12)
        frames = list(source)
    assert [f.index for f in frames] == list(range(12))
    assert frames[3].name == f"{video}#3"
    for frame in frames:
        assert frame.error is None
        assert frame.image is not None
        assert frame.image.flags.c_contiguous
        red, _, blue = frame.image.reshape(-1, 3).mean(axis=0)
        assert (red > 200 and blue < 60) if frame.index < 6 else (blue > 200 and red < 60)


class FakeCapture:
    """Stands in for cv2.VideoCapture; ``script`` holds frames, None = read() fails."""

    def __init__(self, script: list[Any], announced: float = 0.0, opened: bool = True) -> None:
        self.script, self.announced, self.opened, self.released = list(script), announced, opened, 0

    def __call__(self, _: object) -> FakeCapture:
        return self

    def isOpened(self) -> bool:  # noqa: N802
        return self.opened

    def get(self, _: int) -> float:
        return self.announced

    def read(self) -> tuple[bool, Any]:
        frame = self.script.pop(0) if self.script else None
        return frame is not None, frame

    def release(self) -> None:
        self.released += 1


BGR = np.full((4, 6, 3), (1, 2, 3), np.uint8)


def fake(monkeypatch: pytest.MonkeyPatch, capture: FakeCapture) -> FakeCapture:
    monkeypatch.setattr(stream.cv2, "VideoCapture", capture)
    monkeypatch.setattr(stream, "_CAMERA_PAUSE", 0.0)
    return capture


def test_video_that_ends_early_ends_with_a_fault(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "a.mp4"
    path.touch()
    fake(monkeypatch, FakeCapture([BGR] * 5, announced=12.0))
    frames = list(open_source(path))
    assert [f.error is None for f in frames] == [True] * 5 + [False]
    assert "gave 5 frames, its header announces 12" in str(frames[-1].error)


@pytest.mark.parametrize("announced", [-1.0, 0.0, 5.0, 6.0])
def test_video_whose_header_estimates_is_no_fault(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, announced: float
) -> None:
    path = tmp_path / "a.mp4"
    path.touch()
    fake(monkeypatch, FakeCapture([BGR] * 5, announced=announced))
    assert [f.error for f in open_source(path)] == [None] * 5


def test_video_without_a_single_frame_is_a_fault(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "a.mp4"
    path.touch()
    fake(monkeypatch, FakeCapture([]))
    (frame,) = open_source(path)
    assert "gave 0 frames" in str(frame.error)


@pytest.mark.parametrize("spec", ["0", "camera:0"])
def test_camera_reports_lost_frames_and_goes_on(monkeypatch: pytest.MonkeyPatch, spec: str) -> None:
    capture = fake(monkeypatch, FakeCapture([BGR, None, BGR[..., 0], BGR.astype(np.uint16), BGR]))
    with open_source(spec) as source:
        assert (source.kind, source.length) == ("camera", None)
        frames = [next(source) for _ in range(5)]
    assert [f.error is None for f in frames] == [True, False, True, False, True]
    assert [f.index for f in frames] == [0, 1, 2, 3, 4]
    assert frames[0].name == "camera:0#0"
    assert frames[0].image is not None
    assert tuple(frames[0].image[0, 0]) == (3, 2, 1)
    assert "delivered no frame" in str(frames[1].error)
    assert frames[2].image is not None
    assert tuple(frames[2].image[0, 0]) == (1, 1, 1)
    assert "uint16" in str(frames[3].error)
    assert capture.released == 1


def test_camera_that_died_ends_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    fake(monkeypatch, FakeCapture([BGR]))
    frames = []
    with (
        pytest.raises(DataError, match=r"camera 3 failed 10 times in a row.*cable"),
        open_source("camera:3") as source,
    ):
        frames.extend(iter(lambda: next(source), None))
    # Nothing is lost on the way: the good frame and all ten faults came out first.
    assert [f.error is None for f in frames] == [True] + [False] * 10


def test_close_releases_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    capture = fake(monkeypatch, FakeCapture([BGR] * 9))
    source = open_source("0")
    next(source)
    source.close()
    source.close()
    assert capture.released == 1
    assert list(source) == []


def test_camera_that_cannot_be_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    capture = fake(monkeypatch, FakeCapture([], opened=False))
    with pytest.raises(DataError, match="camera 7 cannot be opened"):
        open_source("7")
    assert capture.released == 1


def test_a_folder_called_0_needs_a_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "0").mkdir()
    picture(tmp_path / "0" / "a.png", RED)
    monkeypatch.chdir(tmp_path)
    assert open_source("./0").kind == "folder"
    assert open_source(Path("0")).kind == "folder"


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no .*none.*camera:0"):
        open_source(tmp_path / "none")
    with pytest.raises(DataError, match="holds no pictures"):
        open_source(tmp_path)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"not a video at all")
    with pytest.raises(DataError, match="cannot be opened as a video"):
        open_source(broken)
