"""Tiles: one grid, each patch from the tile that knows most of it, no seams."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from declared import declared_engine, texture
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pyad_edge import DataError, Runtime
from pyad_edge.export.frame_settings import FrameSettings
from pyad_edge.pipeline import Pipeline, Scores
from pyad_edge.tiling import cut_axis

# Tiles of 192 pixels, 24 patches of 8; the tiny network sees at most 47 pixels around a patch, so
# an overlap of 112 leaves every patch what it would see in the whole frame.
TILE, WIDE = 192, 112


@settings(max_examples=300, deadline=None)
@given(
    cells=st.integers(1, 12),
    pitch=st.integers(1, 9),
    aligned=st.integers(1, 4),
    steps=st.integers(0, 5),
    extra=st.integers(0, 200),
)
def test_every_patch_belongs_to_the_tile_that_knows_most(
    cells: int, pitch: int, aligned: int, steps: int, extra: int
) -> None:
    size, align = cells * pitch, min(aligned, cells) * pitch
    overlap = min(steps * pitch, size - align)
    frame = size + extra
    axis = cut_axis(frame, size=size, overlap=overlap, align=align, cells=cells)
    assert axis.starts[0] == 0
    assert all(start % align == 0 for start in axis.starts)
    assert axis.starts[-1] + size >= frame > axis.starts[-1] + size - align
    gaps = np.diff(axis.starts)
    assert (gaps > 0).all()
    assert (size - gaps >= overlap).all()
    centres = [(g + 0.5) * pitch < frame for g in range(axis.patches + 1)]
    assert centres == [True] * axis.patches + [False]
    owner = {g: t for t, (a, b) in enumerate(axis.owned) for g in range(a, b)}
    assert sorted(owner) == list(range(axis.patches))
    assert sum(b - a for a, b in axis.owned) == axis.patches

    def context(g: int, t: int) -> float:
        first = axis.first[t]
        left = np.inf if t == 0 else g - first
        right = np.inf if t == len(axis.starts) - 1 else first + cells - 1 - g
        return float(min(left, right))

    for g, t in owner.items():
        inside = [s for s in range(len(axis.starts)) if 0 <= g - axis.first[s] < cells]
        assert t in inside
        assert context(g, t) == max(context(g, s) for s in inside)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    frames = FrameSettings(size_policy="tile", overlap=(WIDE, WIDE))
    return declared_engine(
        tmp_path_factory.mktemp("tiles"), frames, size=(336, 432), resize=(TILE, TILE), coreset=0.02
    )


def whole(runtime: Runtime, frame: NDArray[np.uint8]) -> Scores:
    """The frame through the network in one piece: what tiles stand in for."""
    tiled = runtime.pipeline
    pipeline = Pipeline(
        preprocessing=tiled.preprocessing.model_copy(update={"resize": frame.shape[:2]}),
        backend=tiled.backend.__class__(
            bytes(runtime.engine.tensors["network/onnx"]),
            outputs=runtime.engine.manifest.backbone.outputs,
            input_size=frame.shape[:2],
        ),
        head=tiled.head,
        sigma=tiled.sigma,
    )
    return pipeline.score([frame])


@pytest.mark.parametrize("size", [(336, 432), (192, 192), (192, 496), (352, 208)])
def test_tiles_are_the_frame_in_one_piece(engine: Path, size: tuple[int, int]) -> None:
    runtime = Runtime(engine)
    frame = texture(size, 77)
    frame[100:110, 150:160] = 255
    tiled, wanted = runtime.pipeline.score([frame]), whole(runtime, frame)
    assert tiled.maps.shape == (1, *size)
    np.testing.assert_allclose(tiled.patches.patch, wanted.patches.patch, rtol=2e-5, atol=1e-6)
    np.testing.assert_allclose(tiled.image, wanted.image, rtol=2e-5)
    np.testing.assert_allclose(tiled.maps, wanted.maps, rtol=2e-5, atol=1e-6)
    np.testing.assert_array_equal(tiled.map_maxima, tiled.maps.max(axis=(1, 2)))
    result = runtime.infer(frame)
    assert result.map_box == (0.0, 0.0, float(size[1]), float(size[0]))
    h, w = tiled.patches.patch.shape[1:]
    assert (h, w) == (size[0] // 8, size[1] // 8)


@pytest.mark.parametrize("shift", [(16, 0), (0, 48), (32, 16)])
def test_a_shifted_frame_has_the_shifted_map(engine: Path, shift: tuple[int, int]) -> None:
    """Away from the frame's border, to 1e-4 of the map's largest value."""
    runtime = Runtime(engine)
    scene = texture((336 + 64, 432 + 64), 5)
    dy, dx = shift
    here = runtime.infer(scene[:336, :432]).anomaly_map
    there = runtime.infer(scene[dy : dy + 336, dx : dx + 432]).anomaly_map
    rim = 64  # what the network sees, and the Gaussian
    a = here[rim + dy : 336 - rim, rim + dx : 432 - rim]
    b = there[rim : 336 - rim - dy, rim : 432 - rim - dx]
    assert float(np.abs(a - b).max()) < 1e-4 * float(here.max())
    assert float(np.abs(a - np.roll(a, 16, axis=1)).max()) > 0.05 * float(here.max())


def test_sides_that_no_step_divides_are_mirrored_at_the_end(engine: Path) -> None:
    runtime = Runtime(engine)
    frame = texture((341, 427), 8)
    result = runtime.infer(frame)
    scores = runtime.pipeline.score([frame])
    # Patches whose centre lies in the frame: 341 / 8 = 42.6, 427 / 8 = 53.4.
    assert scores.patches.patch.shape == (1, 43, 53)
    assert (scores.patches.patch >= 0).all()
    assert result.map_box == (0.0, 0.0, 53 * 8.0, 43 * 8.0)
    inner = whole(runtime, frame[:336, :416]).patches.patch[0, :30, :40]
    np.testing.assert_allclose(scores.patches.patch[0, :30, :40], inner, rtol=2e-5, atol=1e-6)
    for region in result.regions:
        assert region.x + region.width <= 427
        assert region.y + region.height <= 341
    x, y = result.peak
    assert 0 <= x < 427
    assert 0 <= y < 341


def test_frames_smaller_than_a_tile_are_refused(engine: Path) -> None:
    with pytest.raises(DataError, match="at least one tile, 192 x 192 pixels, got 300 x 191"):
        Runtime(engine).infer(texture((191, 300), 1))


def test_frames_of_endless_tiles_are_refused(tmp_path: Path) -> None:
    frames = FrameSettings(size_policy="tile", tile=(64, 64), overlap=(48, 48))
    runtime = Runtime(declared_engine(tmp_path, frames))
    message = "a frame of 2112 x 2112 pixels is cut into 16,641 tiles, at most 16,384"
    with pytest.raises(DataError, match=message):
        runtime.infer(np.zeros((2112, 2112, 3), np.uint8))


def test_a_batch_of_mixed_sizes_is_each_frame_alone(engine: Path) -> None:
    runtime = Runtime(engine)
    frames = [texture(size, n) for n, size in enumerate([(192, 192), (336, 432), (200, 300)])]
    for frame, result in zip(frames, runtime.infer_batch(frames), strict=True):
        alone = runtime.infer(frame)
        assert result.score == alone.score
        assert result.anomaly_map.tobytes() == alone.anomaly_map.tobytes()
        assert result.regions == alone.regions


def test_a_tile_of_other_pixels_than_the_networks(tmp_path: Path) -> None:
    """Tiles of 96 x 72 pixels, each enlarged to 128 x 96: patches of 6 pixels of the frame."""
    frames = FrameSettings(size_policy="tile", tile=(72, 96), overlap=(12, 24))
    runtime = Runtime(declared_engine(tmp_path, frames, size=(150, 200), resize=(96, 128)))
    frame = texture((150, 200), 3)
    scores = runtime.pipeline.score([frame])
    assert scores.patches.patch.shape == (1, 25, 33)  # of 6 pixels: 150 / 6, 200 / 6 = 33.3
    assert scores.maps.shape == (1, 200, 264)
    frame[60:80, 100:120] = (255, 0, 0)
    result = runtime.infer(frame)
    assert result.is_anomalous
    x, y = result.peak
    assert 88 <= x <= 132
    assert 48 <= y <= 92
    tiling = runtime.engine.manifest.input
    assert tiling is not None
    assert tiling.tiling is not None
    assert tiling.tiling.align == (12, 12)
