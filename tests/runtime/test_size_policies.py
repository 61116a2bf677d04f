"""Size policies and regions of interest, end to end: what counts, and what does not."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from declared import declared_engine, opened, texture
from tiny_engine import TinyEngine

from pyad_edge import DataError, Runtime, SettingError, read_image
from pyad_edge.export.frame_settings import FrameSettings

SIZE = (96, 128)


@pytest.fixture(scope="module")
def letterboxed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    frames = FrameSettings(size_policy="letterbox", padding=0)
    return declared_engine(tmp_path_factory.mktemp("letterbox"), frames, size=SIZE, coreset=0.5)


def roi(size: tuple[int, int] = SIZE) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    """The left half, without its rim."""
    mask = np.zeros(size, np.uint8)
    mask[16:-16, 16 : size[1] // 2] = 255
    return mask


def test_error_takes_one_size(tmp_path: Path) -> None:
    runtime = opened(tmp_path, FrameSettings(size_policy="error"), size=SIZE)
    runtime.infer(texture(SIZE, 50))
    assert runtime.info["input"]["frame_size"] == SIZE
    message = r"a frame of 128 x 96 pixels \(size policy 'error'\), got 127 x 96\. Set the camera"
    with pytest.raises(DataError, match=message):
        runtime.infer(texture((96, 127), 50))
    with pytest.raises(DataError, match="got 96 x 128"):
        runtime.infer_batch([texture(SIZE, 1), texture((128, 96), 2)])


def test_a_letterboxed_frame_keeps_its_shape(letterboxed: Path) -> None:
    runtime = Runtime(letterboxed)
    frame = texture(SIZE, 60)
    result = runtime.infer(frame)
    # 96 x 128 in 64 x 64: 48 rows of the input, 8 above and 8 below.
    assert result.map_box == (0.0, -16.0, 128.0, 128.0)
    scores = runtime.pipeline.score([frame])
    patches = scores.patches.patch[0]
    assert (patches[[0, -1]] == -1).all()
    assert (patches[1:-1] >= 0).all()
    assert (scores.patches.rows[0][[0, -1]] == -1).all()
    assert (result.anomaly_map[:8] == 0).all()
    assert (result.anomaly_map[-8:] == 0).all()
    assert (result.anomaly_map[8:-8] > 0).all()
    row, column = np.unravel_index(patches.argmax(), patches.shape)
    assert result.peak == (int((column + 0.5) * 16), int((row + 0.5) * 16 - 16))


def test_a_defect_in_a_letterboxed_frame_is_where_it_is(letterboxed: Path) -> None:
    runtime = Runtime(letterboxed)
    for size, box in (((96, 128), (30, 70)), ((200, 90), (150, 40)), ((64, 64), (20, 36))):
        frame = texture(size, 61)
        side = max(size) // 8
        y, x = box
        frame[y : y + side, x : x + side] = (255, 0, 255)
        result = runtime.infer(frame)
        assert result.is_anomalous
        assert abs(result.peak[0] - (x + side / 2)) <= max(size) / 4
        assert abs(result.peak[1] - (y + side / 2)) <= max(size) / 4
        assert result.regions
        for region in result.regions:
            assert region.x >= 0
            assert region.y >= 0
            assert region.x + region.width <= size[1]
            assert region.y + region.height <= size[0]


def test_a_peak_lies_in_the_frame_even_if_its_patch_reaches_out(tmp_path: Path) -> None:
    path = declared_engine(
        tmp_path,
        FrameSettings(size_policy="letterbox"),
        size=(111, 68),
        resize=(48, 32),
        coreset=0.5,
    )
    runtime, peaks = Runtime(path), []
    for size in ((30, 200), (41, 97), (200, 43)):
        for side in (slice(0, 6), slice(-6, None)):  # a defect on either border
            frame = texture(size, 61)
            frame[side, side] = (255, 0, 255)
            peaks.append((size, runtime.infer(frame).peak))
    for (H, W), (x, y) in peaks:
        assert 0 <= x < W
        assert 0 <= y < H
    assert any(0 in peak for _, peak in peaks)  # one of the centres lay outside


@pytest.mark.parametrize("size", [(8, 400), (400, 8), (97, 31), (64, 64)])
def test_padding_never_counts_whatever_the_shape(letterboxed: Path, size: tuple[int, int]) -> None:
    runtime = Runtime(letterboxed)
    scores = runtime.pipeline.score([texture(size, 62)])
    valid = scores.patches.patch[0] >= 0
    assert valid.any()
    scale = min(64 / size[0], 64 / size[1])
    height, width = round(size[0] * scale), round(size[1] * scale)
    top, left = (64 - height) // 2, (64 - width) // 2

    def seen(first: int, extent: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        cells = np.arange(8) * 8
        common = np.minimum(cells + 8, first + extent) - np.maximum(cells, first)
        return common >= min(8, extent) / 2

    rows, columns = seen(top, height), seen(left, width)
    np.testing.assert_array_equal(valid, rows[:, None] & columns[None])
    assert (scores.maps[0] > 0).any()


def test_batches_of_mixed_sizes_are_each_frame_alone(letterboxed: Path, tmp_path: Path) -> None:
    resized = opened(tmp_path, FrameSettings(mask=None), size=SIZE)
    frames = [texture(size, n) for n, size in enumerate([(96, 128), (200, 90), (64, 64)])]
    for runtime in (Runtime(letterboxed), resized):
        for frame, result in zip(frames, runtime.infer_batch(frames), strict=True):
            alone = runtime.infer(frame)
            assert result.score == alone.score
            assert result.anomaly_map.tobytes() == alone.anomaly_map.tobytes()
            assert result.map_box == alone.map_box
        assert runtime.infer_batch([]) == []


def masked(
    folder: Path, policy: str = "resize", *, resize: tuple[int, int] = (64, 64), **more: object
) -> Runtime:
    folder.mkdir(exist_ok=True)
    cv2.imwrite(str(folder / "roi.png"), roi())
    frames = FrameSettings(size_policy=policy, mask=folder / "roi.png", **more)  # type: ignore[arg-type]
    return opened(folder, frames, size=SIZE, resize=resize, coreset=0.5)


@pytest.mark.parametrize("policy", ["resize", "error", "letterbox", "tile"])
def test_what_lies_outside_the_region_changes_nothing(tmp_path: Path, policy: str) -> None:
    more = {"tile": (64, 64), "overlap": (32, 32)} if policy == "tile" else {}
    runtime = masked(tmp_path, policy, resize=(64, 64) if more else (128, 128), **more)
    frame = texture(SIZE, 70)
    spoiled = frame.copy()
    spoiled[:, 120:] = 255  # 56 pixels from the region: further than the network sees
    clean, dirty = runtime.infer(frame), runtime.infer(spoiled)
    assert dirty.score == clean.score
    assert dirty.anomaly_map.tobytes() == clean.anomaly_map.tobytes()
    assert (dirty.peak, dirty.regions) == (clean.peak, clean.regions)
    patches = runtime.pipeline.score([frame]).patches
    counts = patches.patch[0] >= 0
    assert 0 < counts.sum() < counts.size
    np.testing.assert_array_equal(patches.rows[0] >= 0, counts)
    assert patches.patch[0].max() == patches.patch[0][counts].max()
    inside = frame.copy()
    inside[40:56, 30:46] = (255, 0, 255)
    result = runtime.infer(inside)
    assert result.is_anomalous
    assert 16 <= result.peak[0] < 64


def test_a_patch_counts_if_its_cell_holds_any_of_the_region(tmp_path: Path) -> None:
    runtime = opened(tmp_path, None, size=SIZE)
    mask = np.zeros(SIZE, np.uint8)
    mask[50, 100] = 1  # in cells of 12 x 16 pixels: row 4, column 6
    limited = Runtime(runtime.engine, mask=mask)
    patch = limited.pipeline.score([texture(SIZE, 1)]).patches.patch[0]
    assert [tuple(place) for place in np.argwhere(patch >= 0)] == [(4, 6)]
    everything = Runtime(runtime.engine, mask=np.ones(SIZE, bool))
    frame = texture(SIZE, 2)
    whole, plain = everything.infer(frame), runtime.infer(frame)
    assert whole.score == plain.score
    assert whole.anomaly_map.tobytes() == plain.anomaly_map.tobytes()


def test_the_map_does_not_sink_at_the_border_of_the_region(tmp_path: Path) -> None:
    runtime = masked(tmp_path)
    scores = runtime.pipeline.score([texture(SIZE, 71)])
    counts = scores.patches.patch[0] >= 0
    shown = scores.maps[0] > 0
    np.testing.assert_array_equal(shown, np.kron(counts, np.ones((8, 8), bool)))
    # Smoothing is a weighted mean of the patches that count: it stays within them.
    values = scores.patches.patch[0][counts]
    assert scores.maps[0][shown].min() >= values.min() * (1 - 1e-5)
    assert scores.maps[0][shown].max() <= values.max() * (1 + 1e-5)
    assert scores.map_maxima[0] == scores.maps[0].max()


def test_no_row_of_the_bank_comes_from_outside(tmp_path: Path) -> None:
    runtime = masked(tmp_path)
    sources = runtime.engine.tensors["bank/sources"]
    counts = runtime.pipeline.score([texture(SIZE, 1)]).patches.patch[0] >= 0
    assert counts[sources[:, 1], sources[:, 2]].all()
    assert len(sources) == int(0.5 * 7 * counts.sum())


def test_the_runtimes_region_is_cut_out_of_the_engines(tmp_path: Path) -> None:
    runtime = masked(tmp_path)
    right = np.zeros(SIZE, np.uint8)
    right[:, 40:] = 255
    cv2.imwrite(str(tmp_path / "right.png"), right)
    both = Runtime(runtime.engine, mask=tmp_path / "right.png")
    frame = texture(SIZE, 72)
    own, cut = (r.pipeline.score([frame]).patches for r in (runtime, both))
    counts = (own.patch[0] >= 0) & (np.arange(8) >= 2)[np.newaxis]  # cells of 16 columns
    np.testing.assert_array_equal(cut.patch[0] >= 0, counts)
    assert both.info["input"]["regions_of_interest"] == 2
    left = np.zeros(SIZE, np.uint8)
    left[:, :8] = 255
    with pytest.raises(DataError, match="leaves no patch of a frame of 128 x 96 pixels"):
        Runtime(runtime.engine, mask=left).infer(frame)


def test_masks_that_cannot_be_used(tmp_path: Path, tiny: TinyEngine) -> None:
    runtime = masked(tmp_path)
    with pytest.raises(SettingError, match="leaves nothing to inspect"):
        Runtime(tiny.path, mask=np.zeros((9, 9), np.uint8))
    with pytest.raises(SettingError, match=r"got float64 of shape \(9, 9\)"):
        Runtime(tiny.path, mask=np.ones((9, 9)))  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="got list"):
        Runtime(tiny.path, mask=[[1]])  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="128 x 96 pixels, got 64 x 64"):
        Runtime(runtime.engine, mask=np.ones((64, 64), bool))
    with pytest.raises(DataError, match="does not exist"):
        Runtime(tiny.path, mask=tmp_path / "missing.png")
    cv2.imwrite(str(tmp_path / "black.png"), np.zeros(SIZE, np.uint8))
    with pytest.raises(DataError, match="leaves nothing"):
        Runtime(tiny.path, mask=tmp_path / "black.png")


def test_a_region_on_an_engine_that_declares_nothing(tiny: TinyEngine) -> None:
    frame = read_image(next(iter(tiny.scores)))
    runtime = Runtime(tiny.path, mask=np.ones(frame.shape[:2], np.uint8), color_order="bgr")
    plain = Runtime(tiny.path)
    bgr = np.ascontiguousarray(frame[..., ::-1])
    assert runtime.infer(bgr).score == plain.infer(frame).score
    np.testing.assert_array_equal(runtime.picture(bgr), frame)
    np.testing.assert_array_equal(plain.picture(frame), frame)
    assert runtime.info["golden_drift"] == plain.info["golden_drift"]
