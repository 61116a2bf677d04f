"""The engine file: what it holds, and that no damage to it passes."""

from __future__ import annotations

import hashlib
import json
import os
import re
import struct
from pathlib import Path

import numpy as np
import pytest
from engine_factory import (
    declared_engine,
    engine_bytes,
    ensemble_engine,
    fod_engine,
    grad_engine,
    recontrast_engine,
    refined,
    small_engine,
    take_apart,
)
from safetensors import safe_open
from safetensors.numpy import load

from pyad_edge import Runtime
from pyad_edge.engine import describe, read_engine, verify_bytes
from pyad_edge.engine_format import decode_names, encode_names
from pyad_edge.errors import EngineError
from pyad_edge.export.engine_writer import write_engine

DRAFT, TENSORS = small_engine(rows=150)
DATA = engine_bytes(DRAFT, TENSORS)
# Files written once with the first version of their format; they must open for ever.
EVERY_FORMAT = {
    "v1_patchcore": "8d5188f09962d7609cf0bb56d0fe2355c825897cb7eca23a01f51f22277bdd62",
    "v2_patchcore": "727b7e0ff181991d4c133603232b9a3bb680e2043ab42d0203ce0b203aaacd08",
    "v3_patchcore": "84bcdc330c19af3d20f831ab6e0a928d24a7173d5a78ad98263f1952e903fdb9",
    "v4_ensemble": "b2b5a8d15347bf7f6b49ffa0d75400423d01d8934b241a1e426c47eafe9b1b52",
    "v4_fod": "2445faa9bc8e70e3a89fc7950ed3103df163c9bfeaab84b498cbaafefefe21cc",
    "v4_grad": "6d1815a7f3867415b2c079313d1aecc37ed8ea7a0f62db6473143d8976c19da7",
    "v4_reconpatch": "b89cb11fa5c9fd47b2880c0a8446596aeab6d8161078399467d19f418b0f699b",
    "v4_recontrast": "bc2408e85cb53cd8e49a36c8a7e42f84bc420fa17330c20695377c380e99cd97",
    "v4_refined": "840e1e95c7521b7dd986accc4928005a89b57be28b4c213ab24d290805595dea",
}
ENGINES = Path(__file__).parents[1] / "engines"
HEADER_END = 8 + struct.unpack("<Q", DATA[:8])[0]


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "part.pyad"
    assert write_engine(path, manifest=DRAFT, tensors=TENSORS) == path
    engine = read_engine(path)
    assert path.read_bytes() == DATA
    assert engine.path == path
    assert engine.size == len(DATA)
    assert engine.file_sha256 == hashlib.sha256(DATA).hexdigest()
    assert engine.tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        np.testing.assert_array_equal(engine.tensors[name], tensor)
        assert engine.tensors[name].dtype == tensor.dtype
    for name in type(DRAFT).model_fields:
        assert getattr(engine.manifest, name) == getattr(DRAFT, name)


def test_arrays_are_aligned_and_read_only(tmp_path: Path) -> None:
    path = write_engine(tmp_path / "part.pyad", manifest=DRAFT, tensors=TENSORS)
    tensors = read_engine(path).tensors
    assert tensors["bank/features"].ctypes.data % 64 == 0
    for tensor in tensors.values():
        assert tensor.flags.aligned
        assert tensor.flags.c_contiguous
        with pytest.raises(ValueError, match="read-only"):
            tensor[...] = 0
        with pytest.raises(ValueError, match="WRITEABLE"):
            tensor.flags.writeable = True
    with pytest.raises(TypeError):
        tensors["bank/features"] = np.zeros(1)  # type: ignore[index]


def test_safetensors_reads_it(tmp_path: Path) -> None:
    path = write_engine(tmp_path / "part.pyad", manifest=DRAFT, tensors=TENSORS)
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
        assert set(file.keys()) == TENSORS.keys()
    assert (
        hashlib.sha256(metadata["pyad_edge"].encode()).hexdigest() == metadata["pyad_edge_sha256"]
    )
    for name, tensor in load(DATA).items():
        np.testing.assert_array_equal(tensor, TENSORS[name])


def test_bytes_are_canonical() -> None:
    table, manifest, body = take_apart(DATA)
    text = json.loads(DATA[8:HEADER_END])["__metadata__"]["pyad_edge"]
    assert text == json.dumps(manifest, sort_keys=True, separators=(",", ":"), allow_nan=False)
    assert HEADER_END % 64 == 0
    assert DATA[8:HEADER_END].isascii()
    for name, entry in manifest["tensors"].items():
        start, end = table[name]["data_offsets"]
        assert entry["sha256"] == hashlib.sha256(body[start:end]).hexdigest()
        assert start % TENSORS[name].itemsize == 0


def test_bytes_do_not_depend_on_memory_layout_or_order() -> None:
    shuffled = {name: np.asfortranarray(TENSORS[name]) for name in reversed(TENSORS)}
    shuffled["bank/features"] = TENSORS["bank/features"].astype(">f4")
    assert engine_bytes(DRAFT, shuffled) == DATA


def test_every_truncation_is_refused() -> None:
    for length in range(len(DATA)):
        with pytest.raises(EngineError, match=r"\[read_engine\] part\.pyad .*[.]$"):
            verify_bytes(DATA[:length], "part.pyad")


def test_every_flipped_bit_of_the_header_is_refused() -> None:
    refused_flips(range(HEADER_END), bits=range(8))


def test_every_flipped_byte_of_the_tensors_is_refused() -> None:
    refused_flips(range(HEADER_END, len(DATA)), bits=(0, 7))


def refused_flips(positions: range, *, bits: range | tuple[int, ...]) -> None:
    damaged = bytearray(DATA)
    for position in positions:
        for bit in bits:
            damaged[position] ^= 1 << bit
            try:
                verify_bytes(bytes(damaged), "part.pyad")
            except EngineError as error:
                message = str(error)
                assert message.startswith("[read_engine] part.pyad ")
                assert message.endswith((".", "--upgrade pyad_edge"))
            else:
                pytest.fail(f"bit {bit} of byte {position} flipped unnoticed")
            damaged[position] ^= 1 << bit
    assert bytes(damaged) == DATA


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"1234", "only 4 of the 8 bytes"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01", "begins like a JPEG picture"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "begins like a PNG picture"),
        (b"PK\x03\x04\x14\x00\x00\x00\x08\x00", "begins like a ZIP archive"),
        (b"\x00" * 64, "header is damaged"),
        (b"hello, this is a letter", "first bytes are damaged"),
        (struct.pack("<Q", 2) + b"{}", "without pyad_edge's manifest"),
    ],
)
def test_foreign_files(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "part.pyad"
    path.write_bytes(content)
    with pytest.raises(EngineError, match=f"{path} .*{reason}"):
        read_engine(path)


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"missing\.pyad does not exist"):
        read_engine(tmp_path / "missing.pyad")
    with pytest.raises(EngineError, match="is a folder"):
        read_engine(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(EngineError, match="not a regular file"):
        read_engine(tmp_path / "pipe")
    with pytest.raises(EngineError, match="cannot be read"):
        read_engine(tmp_path / "part\0.pyad")


@pytest.mark.parametrize(
    ("error", "reason"),
    [(PermissionError(13, "denied"), "may not be read"), (OSError(5, "I/O error"), "I/O error")],
)
def test_file_that_does_not_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, reason: str
) -> None:
    path = write_engine(tmp_path / "part.pyad", manifest=DRAFT, tensors=TENSORS)

    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(EngineError, match=f"part.pyad .*{reason}"):
        read_engine(path)


def test_file_above_the_size_cap(tmp_path: Path) -> None:
    path = tmp_path / "part.pyad"
    with path.open("wb") as file:
        file.truncate((8 << 30) + 1)  # sparse
    with pytest.raises(EngineError, match="an engine has at most"):
        read_engine(path)


def test_a_later_change_of_the_file_does_not_reach_an_open_engine(tmp_path: Path) -> None:
    path = write_engine(tmp_path / "part.pyad", manifest=DRAFT, tensors=TENSORS)
    engine = read_engine(path)
    path.write_bytes(bytes(len(DATA)))
    np.testing.assert_array_equal(engine.tensors["bank/features"], TENSORS["bank/features"])


@pytest.mark.parametrize("name", EVERY_FORMAT)
def test_files_of_every_format_still_open(name: str) -> None:
    path = ENGINES / f"{name}.pyad"
    engine = read_engine(path)
    assert engine.file_sha256 == EVERY_FORMAT[name]
    assert f"v{engine.manifest.format_version}_" == name[:3]
    assert engine_bytes(engine.manifest, dict(engine.tensors)) == path.read_bytes()


@pytest.mark.parametrize("name", [name for name in EVERY_FORMAT if name.startswith("v4_")])
def test_files_with_networks_still_score_the_same(name: str) -> None:
    runtime = Runtime(ENGINES / f"{name}.pyad")  # refuses if the golden pictures drift
    golden = runtime.engine.tensors["golden/scores"]
    found = [runtime.infer(f).score for f in runtime.engine.tensors["golden/frames"]]
    np.testing.assert_allclose(found, golden, rtol=1e-4)


def test_describe_is_plain_data(tmp_path: Path) -> None:
    path = write_engine(tmp_path / "part.pyad", manifest=DRAFT, tensors=TENSORS)
    description = describe(read_engine(path))
    assert json.loads(json.dumps(description, allow_nan=False)) == description
    assert description["bank"] == {"rows": 150, "dimensions": 8}
    assert description["threshold"]["normal_pictures"] == 7
    assert description["threshold"]["method"] == "extrapolated"
    assert "7 normal pictures" in description["threshold"]["statement"]
    assert description["tensors"]["bank/features"]["bytes"] == 150 * 8 * 4


def test_the_page_names_every_field_and_tensor() -> None:
    page = (Path(__file__).parents[2] / "docs" / "engine-format.md").read_text(encoding="utf-8")
    missing = []
    all_kinds = (
        declared_engine(),
        refined(*ensemble_engine()),
        recontrast_engine(),
        grad_engine(),
        fod_engine(),
    )
    for made in all_kinds:
        _, manifest, _ = take_apart(engine_bytes(*made))
        tensors = [re.sub(r"/\d(/|$)", r"/<i>\1", name) for name in manifest.pop("tensors")]
        inner = {key for value in manifest.values() if isinstance(value, dict) for key in value}
        inner |= {key for member in manifest.get("members", ()) for key in member}
        inner |= manifest.get("input", {}).get("tiling", {}).keys()
        missing += [name for name in (*manifest, *inner, *tensors) if f"`{name}`" not in page]
    assert not missing


def test_names_survive() -> None:
    names = ("good/000.png", "gut/öl fleck.png", "良品/1.png", 'a"b\\c', "undecodable-\udce4.png")
    assert decode_names(encode_names(names)) == names
