"""Engines that somebody made on purpose: hashes are right, something else is not."""

from __future__ import annotations

import copy
import hashlib
import json
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from engine_factory import engine_bytes, put_together, small_engine, take_apart, with_header

from pyad_edge.engine import verify_bytes
from pyad_edge.engine_common_checks import check_sorted
from pyad_edge.engine_format import canonical_json, encode_names
from pyad_edge.errors import EngineError

DRAFT, TENSORS = small_engine()
DATA = engine_bytes(DRAFT, TENSORS)
TABLE, MANIFEST, BODY = take_apart(DATA)
HEADER = "its header is not the one its manifest demands"


def refused(data: bytes, reason: str) -> None:
    with pytest.raises(EngineError, match=reason):
        verify_bytes(data, "part.pyad")


def test_the_tools_rebuild_a_valid_engine() -> None:
    assert put_together(TABLE, MANIFEST, BODY) == DATA
    verify_bytes(DATA, "part.pyad")


def with_offsets(name: str, start: int, end: int) -> bytes:
    table = copy.deepcopy(TABLE)
    table[name]["data_offsets"] = [start, end]
    return put_together(table, MANIFEST, BODY)


def test_overlapping_tensors() -> None:
    start, end = TABLE["bank/features"]["data_offsets"]
    refused(with_offsets("calibration/scores", start, start + 28), HEADER)
    refused(with_offsets("bank/features", start, end + 4), HEADER)


def test_hole_between_tensors() -> None:
    table = copy.deepcopy(TABLE)
    for entry in table.values():
        entry["data_offsets"] = [offset + 64 for offset in entry["data_offsets"]]
    refused(put_together(table, MANIFEST, bytes(64) + BODY), HEADER)


def test_offsets_outside_of_the_file() -> None:
    refused(with_offsets("bank/features", 0, 2**63), HEADER)
    refused(with_offsets("bank/features", -160, 0), HEADER)


def test_bytes_after_the_end() -> None:
    refused(DATA + b"\0", "goes on after its end")


def test_duplicate_keys() -> None:
    header = DATA[8 : len(DATA) - len(BODY)].decode().rstrip()
    refused(with_header('{"__metadata__":{},' + header[1:], BODY), HEADER)
    text = canonical_json(MANIFEST)
    doubled = '{"method":"patchcore",' + text[1:]
    refused(put_together(TABLE, doubled, BODY), "not in canonical form")


@pytest.mark.parametrize("length", [2**64 - 1, 2**63, 2**40, (1 << 20) + 1])
def test_huge_header_length(length: int) -> None:
    refused(struct.pack("<Q", length) + DATA[8:], "announce a header of")


def test_deeply_nested_header() -> None:
    refused(with_header("[" * 500_000, b""), "nested too deeply|header is damaged")
    refused(put_together(TABLE, "[" * 100_000, BODY), "nested too deeply|not valid JSON")


def test_endless_number() -> None:
    refused(with_header('{"a":' + "9" * 100_000 + "}", b""), "header is damaged")


@pytest.mark.parametrize("header", ["[]", "null", '"text"', '{"__metadata__":[]}'])
def test_header_of_another_shape(header: str) -> None:
    refused(with_header(header, b""), "without pyad_edge's manifest")


def test_surrogates_in_the_manifest() -> None:
    header = '{"__metadata__":{"pyad_edge":"\\ud800"}}'
    refused(with_header(header, b""), "does not match its SHA-256")
    digest = hashlib.sha256("\ud800".encode("utf-8", "surrogatepass")).hexdigest()
    header = f'{{"__metadata__":{{"pyad_edge":"\\ud800","pyad_edge_sha256":"{digest}"}}}}'
    refused(with_header(header, b""), "not valid JSON")


def test_wrong_manifest_hash() -> None:
    refused(put_together(TABLE, MANIFEST, BODY, sha256="0" * 64), "does not match its SHA-256")


def test_metadata_with_more_keys() -> None:
    text = canonical_json(MANIFEST)
    digest = hashlib.sha256(text.encode()).hexdigest()
    metadata = {"pyad_edge": text, "pyad_edge_sha256": digest, "note": "hello"}
    refused(with_header(canonical_json({"__metadata__": metadata, **TABLE}), BODY), HEADER)


def test_manifest_with_spaces() -> None:
    refused(put_together(TABLE, json.dumps(MANIFEST), BODY), "not in canonical form")


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_none(literal: str) -> None:
    text = canonical_json(MANIFEST).replace('"sigma":4.0', f'"sigma":{literal}')
    assert literal in text
    refused(put_together(TABLE, text, BODY), "not valid JSON|sigma")
    text = canonical_json(MANIFEST).replace('"batch":4', f'"batch":{literal}')
    assert literal in text
    refused(put_together(TABLE, text, BODY), "not valid JSON|batch")


def changed(change: Callable[[dict[str, Any]], object]) -> bytes:
    """The engine with another manifest, and a table and hash that agree with it."""
    manifest = copy.deepcopy(MANIFEST)
    change(manifest)
    table = copy.deepcopy(TABLE)
    for name, entry in manifest["tensors"].items():
        if name in table:
            table[name]["shape"] = entry["shape"]
    return put_together(table, manifest, BODY)


def test_newer_version() -> None:
    def newer(manifest: dict[str, Any]) -> None:
        manifest["format_version"] = 5
        manifest["field of the future"] = 1

    refused(changed(newer), r"engine format 5, but .* up to format 4\. Update it: pip install")


def test_unknown_method() -> None:
    refused(changed(lambda m: m.update(method="padim")), "method 'padim', unknown .* Update it")


def test_older_than_the_first_version() -> None:
    refused(changed(lambda m: m.update(format_version=0)), "format_version")


@pytest.mark.parametrize("shape", [[-5, 8], [0, 8], [], [5.0, 8], ["5", 8], [True, 8], [1] * 9])
def test_impossible_shapes(shape: list[object]) -> None:
    refused(changed(lambda m: m["tensors"]["bank/features"].update(shape=shape)), "shape")


def test_shape_that_overflows() -> None:
    shape = [2**40, 2**40]
    refused(changed(lambda m: m["tensors"]["bank/features"].update(shape=shape)), HEADER)


@pytest.mark.parametrize("name", ["../../etc/passwd", "/bank", "bank//x", "bank/", "B", "a\nb", ""])
def test_tensor_names_are_no_paths(name: str) -> None:
    def rename(manifest: dict[str, Any]) -> None:
        manifest["tensors"][name] = manifest["tensors"].pop("bank/features")

    refused(changed(rename), "tensors")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("backbone.name", ""),
        ("color_order", "rgb"),
        ("golden.tolerance", -1.0),
        ("head.neighbors", 0),
        ("head.neighbors", "3"),
        ("head.aggregation.pre_dim", 16385),
        ("head.aggregation.target_dim", 2**62),
        ("network.grid", [4]),
        ("preprocessing.std", [0.0, 1.0, 1.0]),
        ("threshold.false_reject", 0.0),
        ("training.seed", -1),
        ("training.settings", {"nested": {}}),
    ],
)
def test_fields_are_strict_and_closed(path: str, value: object) -> None:
    def change(manifest: dict[str, Any]) -> None:
        *rooms, last = path.split(".")
        for room in rooms:
            manifest = manifest[room]
        manifest[last] = value

    refused(changed(change), f"does not accept: {path}")


def contradiction(draft: dict[str, object], tensors: dict[str, Any], reason: str) -> None:
    """Written by our own writer: every hash is right, the parts do not fit each other."""
    manifest = DRAFT.model_copy(update=draft)
    refused(engine_bytes(manifest, {**TENSORS, **tensors}), f"contradicts itself: .*{reason}")


def test_parts_that_do_not_fit() -> None:
    bank = TENSORS["bank/features"]
    sources = TENSORS["bank/sources"]
    contradiction({}, {"bank/extra": bank}, "unknown tensor 'bank/extra'")
    contradiction({}, {"bank/features": bank.astype(np.float64)}, "should be float32")
    contradiction({}, {"bank/features": bank[:4]}, r"'bank/sources' should be .* \(M = 4, 3\)")
    contradiction({}, {"bank/features": bank[:, :7].copy()}, "8 dimensions, but its bank has 7")
    contradiction({}, {"bank/sources": sources + 4}, "points outside")
    contradiction({}, {"bank/sources": sources - 4}, "points outside")
    contradiction({}, {"bank/pictures": encode_names(["a.png"])}, "names 1 pictures")
    contradiction({}, {"bank/pictures": np.frombuffer(b"{}", np.uint8)}, "not a list of names")
    scores = TENSORS["calibration/scores"]
    contradiction({}, {"calibration/scores": scores[::-1].copy()}, "not sorted")
    contradiction({}, {"network/onnx": np.frombuffer(b"other", np.uint8)}, "not the one")
    head = DRAFT.head.model_copy(update={"neighbors": 6})
    contradiction({"head": head}, {}, "6 neighbours in a bank of 5 rows")
    network = DRAFT.network.model_copy(update={"input_size": (64, 64)})
    contradiction({"network": network}, {}, "its network takes")
    preprocessing = DRAFT.preprocessing.model_copy(update={"resize": 16})
    contradiction({"preprocessing": preprocessing}, {}, "crop .* is larger")
    preprocessing = DRAFT.preprocessing.model_copy(update={"resize": 32, "crop": None})
    contradiction({"preprocessing": preprocessing}, {}, "sets only the shorter side, and no crop")
    for count, height, width in ((17, 8, 8), (2, 7, 8), (2, 8, 1025)):
        golden = {
            "golden/frames": np.zeros((count, height, width, 3), np.uint8),
            "golden/scores": np.ones(count, np.float32),
        }
        reason = "17 golden frames" if count == 17 else f"{width:,} x {height} pixels; 8 to 1024"
        contradiction({}, golden, reason)
    training = DRAFT.training.model_copy(update={"calibration_pictures": 8})
    contradiction({"training": training}, {}, "holds 7 calibration scores")


@pytest.mark.parametrize("name", ["bank/features", "calibration/scores", "golden/scores"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_not_finite(name: str, value: float) -> None:
    tensor = TENSORS[name].copy()
    tensor.flat[-1] = value
    data = engine_bytes(DRAFT, {**TENSORS, name: tensor})
    refused(data, f"holds NaN or infinity in its tensor '{name}'")


def test_scores_that_are_far_apart() -> None:
    """Found by fuzzing: their difference overflows, which must not be a warning."""
    scores = np.array([-3e38, -1.0, 3e38], np.float32)
    names = ("calibration/scores", "calibration/map_maxima")
    assert check_sorted({name: scores for name in names}) is None
    assert check_sorted({name: scores[::-1].copy() for name in names}) is not None


def test_too_many_tensors() -> None:
    more = {f"more/{i}": np.zeros(1, np.uint8) for i in range(300)}
    refused(engine_bytes(DRAFT, {**TENSORS, **more}), "lists 308 tensors")
