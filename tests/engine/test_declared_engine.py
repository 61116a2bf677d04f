"""Engines of format 3: what they declare about their frames must agree with itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from engine_factory import declared_engine, engine_bytes, put_together, small_engine, take_apart

from pyad_edge.engine import verify_bytes
from pyad_edge.engine_manifest import InputSpec, Tiling
from pyad_edge.errors import EngineError

DRAFT, TENSORS = declared_engine()
DATA = engine_bytes(DRAFT, TENSORS)
FRAMES = TENSORS["golden/frames"]


def spec(**changes: object) -> InputSpec:
    """The declared input with changes, unchecked."""
    assert DRAFT.input is not None
    return DRAFT.input.model_copy(update=changes)


def plain(**changes: object) -> InputSpec:
    """An input that declares next to nothing, with changes, unchecked."""
    fields: dict[str, Any] = {
        "pixel_format": "RGB8",
        "window": None,
        "size_policy": "resize",
        "frame_size": None,
        "padding": None,
        "tiling": None,
        "mask": False,
    }
    return InputSpec.model_construct(**(fields | changes))


def refused(
    declared: InputSpec, reason: str, tensors: dict[str, Any] | None = None, **draft: object
) -> None:
    manifest = DRAFT.model_copy(update={"input": declared, **draft})
    data = engine_bytes(manifest, TENSORS if tensors is None else tensors)
    with pytest.raises(EngineError, match=f"contradicts itself: .*{reason}"):
        verify_bytes(data, "part.pyad")


def without_mask(frames: np.ndarray[Any, Any]) -> dict[str, Any]:
    return {k: v for k, v in TENSORS.items() if k != "input/mask"} | {"golden/frames": frames}


RGB = without_mask(np.zeros((2, 32, 48, 3), np.uint8))


def test_round_trip() -> None:
    manifest, tensors = verify_bytes(DATA, "part.pyad")
    assert manifest.format_version == 3
    assert manifest.input == DRAFT.input
    assert tensors.keys() == TENSORS.keys()
    assert tensors["golden/frames"].dtype == np.uint16
    np.testing.assert_array_equal(tensors["golden/frames"], FRAMES)
    verify_bytes(engine_bytes(DRAFT.model_copy(update={"input": plain()}), RGB), "part.pyad")


def test_engines_that_declare_nothing_stay_format_1() -> None:
    data = engine_bytes(*small_engine())
    assert b'"input":' not in data.replace(b'\\"', b'"')
    assert verify_bytes(data, "part.pyad")[0].format_version == 1


@pytest.mark.parametrize("version", [1, 2])
def test_an_input_needs_format_3(version: int) -> None:
    table, manifest, body = take_apart(DATA)
    changed = put_together(table, {**manifest, "format_version": version}, body)
    with pytest.raises(EngineError, match="format 3 an input"):
        verify_bytes(changed, "part.pyad")


def test_an_absent_input_is_not_written_as_null() -> None:
    table, manifest, body = take_apart(engine_bytes(*small_engine()))
    with pytest.raises(EngineError, match="not in canonical form"):
        verify_bytes(put_together(table, {**manifest, "input": None}, body), "part.pyad")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("pixel_format", "Mono12p"),
        ("pixel_format", 8),
        ("window", [0]),
        ("window", ["0", "1"]),
        ("size_policy", "crop"),
        ("frame_size", [0, 5]),
        ("padding", 256),
        ("tiling", {"size": [32, 48], "overlap": [-1, 0], "align": [8, 12]}),
        ("tiling", {"size": [32, 48]}),
        ("mask", 1),
        ("gamma", 2.2),
    ],
)
def test_fields_are_strict_and_closed(field: str, value: object) -> None:
    table, manifest, body = take_apart(DATA)
    manifest["input"][field] = value
    with pytest.raises(EngineError, match=rf"does not accept: input\.{field}"):
        verify_bytes(put_together(table, manifest, body), "part.pyad")


def test_windows() -> None:
    refused(spec(window=None), "no window says")
    refused(spec(window=(64.0, 64.0)), r"black \(64\) is not below its white")
    refused(spec(window=(0.0, 4096.0)), "whole numbers from 0 to 4095")
    refused(spec(window=(0.5, 100.0)), "whole numbers")
    refused(spec(window=(-1.0, 100.0)), "whole numbers")
    refused(plain(window=(0.0, 255.0)), "8 bits, so it takes no window", RGB)
    floats = without_mask(np.zeros((2, 32, 48), np.float32))
    for window in ((0.0, 5e-324), (-1e308, 1e308)):
        refused(plain(pixel_format="Mono32f", window=window), "too wide or too narrow", floats)


def test_size_policies() -> None:
    refused(spec(padding=3), "a padding belongs to")
    refused(plain(size_policy="letterbox"), "a padding belongs to", RGB)
    refused(plain(size_policy="tile"), "a tiling belongs to", RGB)
    refused(spec(size_policy="resize"), "a tiling belongs to")
    refused(plain(size_policy="error"), "needs the frame size", RGB)
    for policy, more in (("letterbox", {"padding": 0}), ("tile", {"tiling": spec().tiling})):
        cut = DRAFT.preprocessing.model_copy(update={"resize": (36, 36), "crop": (32, 32)})
        declared = plain(size_policy=policy, **more)
        refused(declared, "neither a crop nor", RGB, preprocessing=cut)


@pytest.mark.parametrize(
    ("size", "overlap", "align", "reason"),
    [
        ((32, 48), (32, 12), (8, 12), "overlap by 32"),
        ((32, 48), (8, 12), (6, 12), "multiples of 6 pixels do not fit"),
        ((32, 48), (8, 12), (8, 48), "multiples of 48 pixels do not fit"),
        ((32, 1028), (8, 12), (8, 257), "at most 1024"),
        ((64, 48), (8, 12), (16, 12), "smaller than its tiles"),
    ],
)
def test_tiles(
    size: tuple[int, int], overlap: tuple[int, int], align: tuple[int, int], reason: str
) -> None:
    refused(spec(tiling=Tiling(size=size, overlap=overlap, align=align)), reason)


def test_golden_frames_that_would_take_hours() -> None:
    grid = DRAFT.network.grid
    tiling = Tiling(size=(32, 48), overlap=(32 - 32 // grid[0], 36), align=(32 // grid[0], 12))
    frames = np.zeros((16, 1024, 48), FRAMES.dtype)
    tensors = TENSORS | {"golden/frames": frames, "golden/scores": np.ones(16, np.float32)}
    refused(spec(tiling=tiling), "tiles, at most 1,024 run", tensors)


def test_tensors() -> None:
    refused(spec(mask=False), "unknown tensor 'input/mask'")
    refused(spec(), "lacks tensor 'input/mask'", without_mask(FRAMES))
    refused(spec(pixel_format="RGB8", window=None), r"'golden/frames' should be uint8 .*, 3\)")
    refused(spec(), "should be uint16", TENSORS | {"golden/frames": FRAMES.astype(np.uint8)})
    refused(spec(frame_size=(80, 95)), "has not the size of its frames")
    refused(spec(), "leaves nothing", TENSORS | {"input/mask": np.zeros((80, 96), np.uint8)})
    mask = np.ones((1, 16385), np.uint8)
    refused(spec(frame_size=None), "16,385 x 1 pixels", TENSORS | {"input/mask": mask})
    order = DRAFT.preprocessing.model_copy(update={"color_order": "bgr"})
    refused(spec(), "its preprocessing expects BGR order", preprocessing=order)
    # 80 x 96 pixels have 10 x 8 patches at this tile size.
    sources = TENSORS["bank/sources"].copy()
    sources[0, 1:] = (9, 7)
    data = engine_bytes(DRAFT, TENSORS | {"bank/sources": sources})
    np.testing.assert_array_equal(verify_bytes(data, "e")[1]["bank/sources"], sources)
    sources[0, 1] = 10
    refused(spec(), "points outside", TENSORS | {"bank/sources": sources})


def test_every_flipped_bit_of_the_manifest_is_refused() -> None:
    start = DATA.index(b"input")
    damaged = bytearray(DATA)
    for position in range(start, start + 400):
        for bit in (0, 3, 6):
            damaged[position] ^= 1 << bit
            with pytest.raises(EngineError, match=r"\[read_engine\] part\.pyad "):
                verify_bytes(bytes(damaged), "part.pyad")
            damaged[position] ^= 1 << bit
    assert bytes(damaged) == DATA
