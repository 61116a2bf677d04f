"""The input gate: each fault by its name, nothing on healthy pictures."""

from __future__ import annotations

import threading
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from soak import allocated_megabytes
from stream_fakes import picture

from pyad_edge.streaming import FaultCode, GateSettings
from pyad_edge.streaming.gate import Gate, GateReference

Picture = NDArray[np.uint8]


def part(seed: int, shape: tuple[int, int] = (120, 160)) -> Picture:
    """A scene as a lens shows it: soft shapes, fine texture, sensor noise."""
    rng = np.random.default_rng(seed)
    soft = cv2.GaussianBlur(rng.uniform(0, 255, shape), (0, 0), 6)
    texture = cv2.GaussianBlur(rng.uniform(0, 255, shape), (0, 0), 0.9)
    mixed = 110 + 6 * (soft - 127) + 0.9 * (texture - 127) + rng.normal(0, 1.5, shape)
    return np.repeat(mixed.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)


def gate(**settings: object) -> Gate:
    chosen = GateSettings(**settings)  # type: ignore[arg-type]
    return Gate(chosen, GateReference.of(part(0), chosen), camera="cam")


def torn(image: Picture) -> Picture:
    return np.vstack((part(99)[:50] // 3, image[50:]))


SPOIL: dict[FaultCode, Callable[[Picture], NDArray[np.generic]]] = {
    FaultCode.BLACK: lambda image: image // 32,
    FaultCode.WHITE: lambda image: np.maximum(image, 253),
    FaultCode.TORN: torn,
    FaultCode.BLURRED: lambda image: cv2.GaussianBlur(image, (0, 0), 3),
    FaultCode.WRONG_SIZE: lambda image: image[:-1],
    FaultCode.WRONG_DTYPE: lambda image: image.astype(np.uint16),
}


def test_healthy_pictures_pass() -> None:
    line = gate()
    assert [line.check(part(seed)) for seed in range(100)] == [None] * 100


@pytest.mark.parametrize("code", SPOIL)
def test_each_fault_has_its_name_and_can_be_switched_off(code: FaultCode) -> None:
    on, off = gate(), gate(**{code.value: False})
    for line in (on, off):
        assert line.check(part(1)) is None
    bad = SPOIL[code](part(2))
    fault = on.check(bad)
    assert fault is not None
    assert fault.code is code
    assert fault.reason.startswith("[gate] cam: ")
    other = off.check(bad)
    assert other is None or other.code is not code


@pytest.mark.parametrize("code", [FaultCode.BLACK, FaultCode.WHITE, FaultCode.BLURRED])
def test_mono_and_sixteen_bits_are_measured_alike(code: FaultCode) -> None:
    settings = GateSettings()
    deep = part(0)[..., 0].astype(np.uint16) * 16
    reference = GateReference.of(deep, settings, pixel_format="Mono12")
    assert reference.full_scale == 4095
    line = Gate(settings, reference, camera="cam")
    assert line.check(part(1)[..., 0].astype(np.uint16) * 16) is None
    fault = line.check(SPOIL[code](part(2)[..., 0]).astype(np.uint16) * 16)
    assert fault is not None
    assert fault.code is code


def test_a_mosaic_is_looked_at_in_one_colour() -> None:
    scene = part(0)[..., 0]
    scene[1::2] //= 3  # red and blue rows differ: a step at every row
    reference = GateReference.of(scene, GateSettings(), pixel_format="BayerRG8")
    assert reference.mosaic
    assert reference.seam is not None
    assert reference.seam < 2.5


def test_frozen_from_the_first_repetition_or_later() -> None:
    frames = [part(1), part(2), part(2), part(2), part(3)]
    strict, patient = gate(), gate(frozen_after=2, torn_rows=False)
    assert [bool(strict.check(f)) for f in frames] == [False, False, True, True, False]
    assert [bool(patient.check(f)) for f in frames] == [False, False, False, True, False]


def test_one_pixel_makes_another_picture_unless_a_floor_is_set() -> None:
    frame = part(1)
    other = frame.copy()
    other[7, 11, 0] ^= 1  # not on the sampled grid
    strict, floor = gate(torn=False), gate(torn=False, frozen_floor=0.001)
    assert [bool(strict.check(f)) for f in (frame, other)] == [False, False]
    assert [bool(floor.check(f)) for f in (frame, other)] == [False, True]


@pytest.mark.parametrize("age", [1, 2, 4])
@pytest.mark.parametrize("upper", [True, False])
def test_rows_of_an_earlier_frame_are_torn_however_alike(age: int, upper: bool) -> None:
    rng = np.random.default_rng(0)
    still = part(5)  # the same scene again and again: only noise tells rows apart
    frames = [
        (still + rng.normal(0, 1.5, still.shape)).clip(0, 255).astype(np.uint8) for _ in range(6)
    ]
    line = gate(torn_ratio=1e9)
    assert [line.check(f) for f in frames[:5]] == [None] * 5
    bad = frames[5].copy()
    rows = slice(None, 40) if upper else slice(80, None)
    bad[rows] = frames[5 - age][rows]
    fault = line.check(bad)
    assert fault is not None
    assert fault.code is FaultCode.TORN


def test_a_scene_that_is_dark_by_nature_is_not_black() -> None:
    dark = part(0) // 24
    dark[50:60, 60:75] = 200
    settings = GateSettings(blurred=False, torn=False)
    line = Gate(settings, GateReference.of(dark, settings), camera="cam")
    assert line.check(dark) is None
    fault = line.check(dark // 24)
    assert fault is not None
    assert fault.code is FaultCode.BLACK


def small_part(seed: int, ground: int) -> Picture:
    """A part on a saturated or black ground, 2 % of the picture, between the strips."""
    scene = np.full((480, 640, 3), ground, np.uint8)
    scene[200:280, 280:360] = part(seed, (80, 80))
    return scene


@pytest.mark.parametrize("ground", [0, 255])
def test_a_small_part_on_an_even_ground_passes(ground: int) -> None:
    settings = GateSettings()
    golden = small_part(0, ground)[112:368, 192:448]
    line = Gate(settings, GateReference.of(golden, settings), camera="cam")
    assert [line.check(small_part(seed, ground)) for seed in range(1, 9)] == [None] * 8
    fault = line.check(np.full((480, 640, 3), ground, np.uint8))
    assert fault is not None
    assert fault.code is (FaultCode.WHITE if ground else FaultCode.BLACK)


def test_one_level_is_blurred_unless_it_is_normal() -> None:
    level = np.full((120, 160, 3), 90, np.uint8)
    settings = GateSettings()
    line = Gate(settings, GateReference.of(level, settings), camera="cam")
    assert line.check(level) is None
    fault = gate().check(level)
    assert fault is not None
    assert fault.code is FaultCode.BLURRED


def test_the_first_frame_sets_the_size_unless_it_is_given() -> None:
    learned, given = gate(), gate(size=(120, 160))
    assert learned.check(part(1, (60, 80))) is None
    assert learned.check(part(2)) is not None
    assert given.check(part(1, (60, 80))) is not None
    assert given.check(part(2)) is None


@pytest.mark.parametrize("shape", [(8, 8, 3), (8, 8), (9, 300, 3), (300, 8), (17, 17, 1)])
def test_odd_shapes_are_measured(shape: tuple[int, ...]) -> None:
    line = gate(wrong_size=False)
    assert line.check(picture(1, shape)) is None
    assert line.check(picture(2, shape)) is None


@pytest.mark.parametrize("shape", [(0, 8, 3), (8,), (2, 2, 2, 2)])
def test_what_is_no_picture_is_a_fault(shape: tuple[int, ...]) -> None:
    fault = gate().check(np.zeros(shape, np.uint8))
    assert fault is not None
    assert fault.code is FaultCode.WRONG_SIZE


def test_a_thread_that_has_looked_leaves_no_memory_behind() -> None:
    """Every new connection to a camera is one: what each left would add up for months."""
    allocated = allocated_megabytes()
    if not allocated():
        pytest.skip("this C library does not say what it has handed out")
    frames = [part(seed) for seed in range(3)]

    def look() -> None:
        watch = gate()
        assert all(watch.check(frame) is None for frame in frames)

    def connect(times: int) -> None:
        for _ in range(times):
            thread = threading.Thread(target=look)
            thread.start()
            thread.join()

    connect(50)
    before = allocated()
    connect(300)
    assert allocated() - before < 300 * 100e-6  # cv2.reduce left 870 bytes a thread
