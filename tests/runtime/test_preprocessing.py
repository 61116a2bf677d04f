"""Frames to network input: sizes, boxes, batches of different frames."""

from __future__ import annotations

import numpy as np
import pytest

from pyad_edge.engine_manifest import Preprocessing
from pyad_edge.errors import SettingError
from pyad_edge.ops import preprocess
from pyad_edge.preprocessing import input_size, map_box, to_batch

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def settings(
    resize: int | tuple[int, int], crop: tuple[int, int] | None = None, order: str = "rgb"
) -> Preprocessing:
    return Preprocessing.model_validate(
        {"resize": resize, "crop": crop, "mean": MEAN, "std": STD, "color_order": order}
    )


def test_the_input_size_is_known_before_any_frame() -> None:
    assert input_size(settings((64, 96))) == (64, 96)
    assert input_size(settings((64, 96), (32, 48))) == (32, 48)
    assert input_size(settings(72, (64, 64))) == (64, 64)
    with pytest.raises(SettingError, match=r"resize=72 sets only the shorter side\. Give both"):
        input_size(settings(72))


def test_a_batch_of_different_frames_is_each_frame_alone() -> None:
    rng = np.random.default_rng(0)
    frames = [
        rng.integers(0, 256, (40, 70, 3), dtype=np.uint8),
        rng.integers(0, 256, (33, 20), dtype=np.uint8),
        rng.integers(0, 256, (90, 50, 3), dtype=np.uint8)[::-1, ::2],
    ]
    for chosen in (settings((32, 48)), settings(36, (32, 32)), settings((32, 48), order="bgr")):
        batch = to_batch(frames, chosen)
        for n, frame in enumerate(frames):
            assert to_batch([frame], chosen)[0].tobytes() == batch[n].tobytes()
    rgb, bgr = settings((32, 48)), settings((32, 48), order="bgr")
    assert to_batch(frames, rgb, color_order="bgr").tobytes() == to_batch(frames, bgr).tobytes()


@pytest.mark.parametrize("shape", [(101, 67), (67, 101), (64, 64), (70, 9), (333, 512)])
@pytest.mark.parametrize(
    ("resize", "crop"), [((48, 80), (31, 53)), (48, (47, 33)), (41, (41, 41)), ((36, 36), (36, 36))]
)
def test_the_box_is_what_the_network_sees(
    shape: tuple[int, int], resize: int | tuple[int, int], crop: tuple[int, int]
) -> None:
    # A frame whose values are its own coordinates tells which part of it arrived.
    H, W = shape
    x, y, width, height = map_box(shape, settings(resize, crop))
    for axis, (start, extent, side) in enumerate(((y, height, H), (x, width, W))):
        ramp = (np.arange(side) + 0.5) / side
        values = ramp[:, np.newaxis] if axis == 0 else ramp[np.newaxis]
        frame = np.broadcast_to(np.rint(values * 255), shape).astype(np.uint8)
        seen = preprocess(frame, resize=resize, crop=crop, mean=(0, 0, 0), std=(1, 1, 1))[0, 0]
        centres = (start + (np.arange(crop[axis]) + 0.5) * extent / crop[axis]) / side
        inner = (centres > 2 / side) & (centres < 1 - 2 / side)
        found = seen.mean(axis=1 - axis)
        np.testing.assert_allclose(found[inner], centres[inner], atol=2.5 / 255)


def test_without_a_crop_the_box_is_the_frame() -> None:
    assert map_box((101, 67), settings((48, 80))) == (0.0, 0.0, 67.0, 101.0)
