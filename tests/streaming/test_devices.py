"""OpenCV and GenICam devices over stand-ins for the libraries; no camera is here to test with."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from pyad_edge.errors import BackendError, DataError, SettingError
from pyad_edge.streaming import StreamSettings, opencv
from pyad_edge.streaming.decoded import as_declared
from pyad_edge.streaming.genicam import GenicamDevice, genicam_factory
from pyad_edge.streaming.opencv import OpenCvDevice

SETTINGS = StreamSettings()


class FakeCapture:
    """Stands in for cv2.VideoCapture; ``script`` holds frames, None = no frame."""

    def __init__(self, script: list[Any]) -> None:
        self.script = script
        self.arguments: tuple[Any, ...] = ()
        self.released = 0

    def __call__(self, *arguments: Any) -> FakeCapture:
        self.arguments = arguments
        return self

    def isOpened(self) -> bool:  # noqa: N802
        return bool(self.script)

    def set(self, key: int, value: float) -> bool:
        return (key, value) == (cv2.CAP_PROP_BUFFERSIZE, 1)

    def grab(self) -> bool:
        return self.script[0] is not None

    def retrieve(self) -> tuple[bool, Any]:
        return True, self.script.pop(0)

    def release(self) -> None:
        self.released += 1


BGR = np.full((4, 6, 3), (1, 2, 3), np.uint8)


def fake(monkeypatch: pytest.MonkeyPatch, *script: Any) -> FakeCapture:
    capture = FakeCapture(list(script))
    monkeypatch.setattr(opencv.cv2, "VideoCapture", capture)
    return capture


@pytest.mark.parametrize(("order", "expected"), [(None, (3, 2, 1)), ("BGR8", (1, 2, 3))])
def test_webcams_give_the_order_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, order: Any, expected: tuple[int, ...]
) -> None:
    capture = fake(monkeypatch, BGR, BGR[..., 0], BGR.astype(np.uint16), None)
    device = OpenCvDevice(0, SETTINGS, pixel_format=order)
    device.open()
    colour, mono, deep = (device.read(0.1) for _ in range(3))
    assert colour is not None
    assert colour.image is not None
    assert tuple(colour.image[0, 0]) == expected
    assert colour.frame_id is None
    assert mono is not None
    assert mono.image is not None
    assert np.array_equal(mono.image, BGR[..., [0, 0, 0]])
    assert deep is not None
    assert "uint16" in str(deep.error)
    with pytest.raises(DataError, match="gave no frame"):
        device.read(0.1)
    device.close()
    device.close()
    assert capture.released == 1


GREY = np.repeat(np.arange(24, dtype=np.uint8).reshape(4, 6, 1), 3, axis=2)


@pytest.mark.parametrize("decoded", [GREY, GREY[..., 0], GREY[..., :1]])
@pytest.mark.parametrize(
    ("wanted", "shape"),
    [
        (None, (4, 6, 3)), ("RGB8", (4, 6, 3)), ("BGR8", (4, 6, 3)), ("Mono8", (4, 6)),
        ("RGBa8", (4, 6, 4)), ("BGRa8", (4, 6, 4)),
    ],
)  # fmt: skip
def test_grey_pictures_become_what_the_engine_declares(
    decoded: Any, wanted: str | None, shape: tuple[int, ...]
) -> None:
    image, why = as_declared(decoded, wanted)
    assert why == ""
    assert image is not None
    assert image.shape == shape
    grey = image if image.ndim == 2 else image[..., 0]
    assert np.array_equal(grey, GREY[..., 0])


def test_colours_keep_their_order_and_become_opaque() -> None:
    wanted = {"RGB8": (3, 2, 1), "BGR8": (1, 2, 3), "RGBa8": (3, 2, 1, 255)}
    for name, pixel in {**wanted, "BGRa8": (1, 2, 3, 255)}.items():
        image, _ = as_declared(BGR, name)
        assert image is not None
        assert tuple(image[0, 0]) == pixel


def test_what_was_not_the_same_picture_is_refused() -> None:
    coloured = np.full((4, 6, 3), (0, 0, 200), np.uint8)
    refused = [
        (coloured, "Mono8", "a coloured picture"),
        (GREY, "Mono12", "converted by their driver"),
        (GREY, "BayerRG8", "converted by their driver"),
        (GREY.astype(np.uint16), None, "uint16"),
        (GREY[..., :2], None, r"\(4, 6, 2\)"),
    ]
    for decoded, wanted, reason in refused:
        image, why = as_declared(decoded, wanted)
        assert image is None
        assert re.search(reason, why)


def test_passwords_of_an_address_stay_out_of_records() -> None:
    device = OpenCvDevice("rtsp://user:secret@127.0.0.1:9/none", SETTINGS)
    with pytest.raises(DataError, match=r"rtsp://127\.0\.0\.1:9/none cannot") as caught:
        device.open()
    assert "secret" not in str(caught.value)


def test_network_streams_get_time_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    capture = fake(monkeypatch, BGR)
    OpenCvDevice("rtsp://line/1", SETTINGS).open()
    address, backend, parameters = capture.arguments
    assert (address, backend) == ("rtsp://line/1", cv2.CAP_FFMPEG)
    limits = dict(zip(parameters[::2], parameters[1::2], strict=True))
    assert limits[cv2.CAP_PROP_OPEN_TIMEOUT_MSEC] < 1e3 * SETTINGS.open_timeout_s
    assert limits[cv2.CAP_PROP_READ_TIMEOUT_MSEC] < 1e3 * SETTINGS.stale_after_s


def test_a_camera_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    capture = fake(monkeypatch)
    with pytest.raises(DataError, match="camera 7 cannot be opened"):
        OpenCvDevice(7, SETTINGS).open()
    assert capture.released == 1


def test_a_real_network_address_where_nobody_answers_fails_in_time() -> None:
    device = OpenCvDevice("rtsp://127.0.0.1:9/none", SETTINGS)
    with pytest.raises(DataError, match="cannot be opened"):
        device.open()


class FakeBuffer:
    def __init__(self, frame_id: int, stamp: int, pixels: Any, complete: bool = True) -> None:
        self.frame_id, self.timestamp_ns, self.queued = frame_id, stamp, 0
        self.pixels = pixels
        H, W = pixels.shape[:2]
        component = SimpleNamespace(height=H, width=W, data=pixels.reshape(-1))
        self.payload = SimpleNamespace(components=[component] if complete else [])

    def queue(self) -> None:
        self.queued += 1
        self.pixels[...] = 0  # the driver writes into it again


class FakeHarvester:
    """One camera; ``nodes`` are its chunk values."""

    def __init__(self, buffers: list[Any], **nodes: Any) -> None:
        self.buffers, self.calls = buffers, []
        self.remote_device = SimpleNamespace(node_map=SimpleNamespace(**nodes))

    def create(self, selector: Any) -> FakeHarvester:
        self.calls.append(selector)
        return self

    def try_fetch(self, *, timeout: float) -> Any:
        return self.buffers.pop(0) if self.buffers else None

    def start(self) -> None:
        self.calls.append("start")

    def stop(self) -> None:
        self.calls.append("stop")

    def destroy(self) -> None:
        self.calls.append("destroy")

    def reset(self) -> None:
        self.calls.append("reset")


def pixels(value: int, channels: int = 1) -> Any:
    shape = (4, 6) if channels == 1 else (4, 6, channels)
    return np.full(shape, value, np.uint8)


def test_genicam_frames_are_copies_with_the_cameras_ids_and_times() -> None:
    buffers = [
        FakeBuffer(65534, 10**9, pixels(1)),
        FakeBuffer(65535, 2 * 10**9, pixels(2, 3)),
        FakeBuffer(1, 3 * 10**9, pixels(3)),  # block ids skip 0
        FakeBuffer(3, 4 * 10**9, pixels(4), complete=False),
    ]
    harvester = FakeHarvester(list(buffers))
    device = GenicamDevice(lambda: harvester, {"serial_number": "x"})
    device.open()
    assert device.counter == "session"
    grabs = [device.read(0.1) for _ in range(5)]
    assert grabs.pop() is None
    assert [g.frame_id for g in grabs if g] == [65534, 65535, 65536, 65538]
    assert [None if g is None or g.image is None else g.image.shape for g in grabs] == [
        (4, 6), (4, 6, 3), (4, 6), None,
    ]  # fmt: skip
    assert grabs[1] is not None
    assert grabs[1].image is not None
    assert grabs[1].image.max() == 2
    assert grabs[3] is not None
    assert "incomplete" in str(grabs[3].error)
    assert [b.queued for b in buffers] == [1] * 4
    device.close()
    assert harvester.calls == [{"serial_number": "x"}, "start", "stop", "destroy", "reset"]


def test_genicam_chunk_ids_come_first() -> None:
    node = SimpleNamespace(value=77)
    device = GenicamDevice(
        lambda: FakeHarvester([FakeBuffer(5, 0, pixels(1))], ChunkCounterValue=node), 0
    )
    device.open()
    assert device.counter == "device"
    grab = device.read(0.1)
    assert grab is not None
    assert grab.frame_id == 77


def test_genicam_time_stamps_keep_the_camera_s_spacing(monkeypatch: pytest.MonkeyPatch) -> None:
    arrivals = iter([100.010, 101.005, 102.300])
    monkeypatch.setattr("pyad_edge.streaming.genicam.time.monotonic", lambda: next(arrivals))
    buffers = [FakeBuffer(n, (n + 1) * 10**9, pixels(1)) for n in range(3)]
    device = GenicamDevice(lambda: FakeHarvester(buffers), 0)
    device.open()
    times = [device.read(0.1).monotonic for _ in range(3)]  # type: ignore[union-attr]
    assert times == pytest.approx([100.010, 101.005, 102.005], abs=1e-3)


def ages(
    monkeypatch: pytest.MonkeyPatch, arrivals: list[float], stamps: list[float]
) -> list[float]:
    """How old each frame seems when it comes, in seconds."""
    now = iter(arrivals)
    monkeypatch.setattr("pyad_edge.streaming.genicam.time.monotonic", lambda: next(now))
    buffers = [FakeBuffer(n, round(s * 1e9), pixels(1)) for n, s in enumerate(stamps)]
    device = GenicamDevice(lambda: FakeHarvester(buffers), 0)
    device.open()
    return [at - device.read(0.1).monotonic for at in arrivals]  # type: ignore[union-attr]


def test_a_camera_s_clock_that_runs_slow_makes_no_frame_old(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hours = [600.0 * n for n in range(1, 200)]
    assert max(ages(monkeypatch, hours, [at * (1 - 1e-4) for at in hours])) < 0.001
    assert max(ages(monkeypatch, hours, [at * (1 + 1e-4) for at in hours])) < 0.13


def test_a_camera_s_clock_that_is_set_back_makes_no_frame_old(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arrivals = [100.0, 101.0, 102.0, 103.5, 104.0]
    found = ages(monkeypatch, arrivals, [50.0, 51.0, 1.0, 2.0, 3.0])
    assert found == pytest.approx([0.0, 0.0, 0.0, 0.5, 0.0], abs=0.001)


@pytest.mark.parametrize("values", [36, 25, 12, 0])
def test_genicam_frames_that_are_packed_or_padded_are_refused(values: int) -> None:
    buffer = FakeBuffer(7, 0, pixels(1))
    buffer.payload.components[0].data = np.zeros(values, np.uint8)
    device = GenicamDevice(lambda: FakeHarvester([buffer]), 0)
    device.open()
    grab = device.read(0.1)
    assert grab is not None
    assert grab.image is None
    assert "unpacked PixelFormat" in str(grab.error)
    assert buffer.queued == 1


def test_genicam_without_harvesters_or_producers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GENICAM_GENTL64_PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "harvesters.core", SimpleNamespace(Harvester=object))
    with pytest.raises(SettingError, match="GENICAM_GENTL64_PATH"):
        genicam_factory("123")
    monkeypatch.setitem(sys.modules, "harvesters.core", None)
    with pytest.raises(BackendError, match=r"pyad_edge\[genicam\]"):
        genicam_factory("123")


def test_genicam_producers_are_found_and_the_camera_chosen(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "maker.cti").touch()
    monkeypatch.setenv("GENICAM_GENTL64_PATH", str(tmp_path))
    added: list[str] = []

    class Harvester(FakeHarvester):
        def __init__(self) -> None:
            super().__init__([])

        def add_file(self, path: str) -> None:
            added.append(path)

        def update(self) -> None:
            added.append("update")

    monkeypatch.setitem(sys.modules, "harvesters.core", SimpleNamespace(Harvester=Harvester))
    for selector, chosen in (("A12", {"serial_number": "A12"}), ("#1", 1)):
        device = genicam_factory(selector)()
        device.open()
        assert device._harvester.calls[0] == chosen  # type: ignore[attr-defined]
    assert added == [str(tmp_path / "maker.cti"), "update"] * 2
