"""Engines of format 4: other methods, sums, ensembles, refinements, and what must agree in them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from command_line import call
from engine_factory import (
    declared_engine,
    engine_bytes,
    put_together,
    reconpatch_engine,
    recontrast_engine,
    small_engine,
    take_apart,
)
from engine_refusals import ENGINES, Made, index, refused

from pyad_edge.calibration import p_value, threshold_for
from pyad_edge.engine import Engine, describe, read_engine, verify_bytes
from pyad_edge.engine_manifest import ManifestDraft, format_version, member_tensor
from pyad_edge.engine_table import engine_rows
from pyad_edge.errors import EngineError
from pyad_edge.export.engine_writer import write_engine
from pyad_edge.result import Verdict


@pytest.mark.parametrize("name", ENGINES)
def test_round_trip(name: str, tmp_path: Any) -> None:
    draft, tensors = ENGINES[name]
    engine = read_engine(write_engine(tmp_path / "e.pyad", manifest=draft, tensors=tensors))
    assert engine.manifest.format_version == 4
    for field in ManifestDraft.model_fields:
        assert getattr(engine.manifest, field) == getattr(draft, field)
    assert engine.tensors.keys() == tensors.keys()
    for key, tensor in tensors.items():
        np.testing.assert_array_equal(engine.tensors[key], tensor)


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize("name", ENGINES)
def test_no_older_format_holds_them(name: str, version: int) -> None:
    table, manifest, body = take_apart(engine_bytes(*ENGINES[name]))
    with pytest.raises(EngineError, match="so this is format 4"):
        verify_bytes(put_together(table, {**manifest, "format_version": version}, body), "e")


@pytest.mark.parametrize("made", [small_engine(), declared_engine()])
def test_older_engines_are_no_format_4(made: Made) -> None:
    table, manifest, body = take_apart(engine_bytes(*made))
    assert manifest["format_version"] == format_version(made[0]) < 4
    with pytest.raises(EngineError, match=f"so this is format {format_version(made[0])}"):
        verify_bytes(put_together(table, {**manifest, "format_version": 4}, body), "e")


@pytest.mark.parametrize("name", ["members", "fusion", "refinement"])
def test_absent_fields_are_not_written_as_null(name: str) -> None:
    table, manifest, body = take_apart(engine_bytes(*reconpatch_engine()))
    assert name not in manifest
    with pytest.raises(EngineError, match="canonical form"):
        verify_bytes(put_together(table, {**manifest, name: None}, body), "e")


def test_absent_coreset_ratio_is_not_written_as_null() -> None:
    table, manifest, body = take_apart(engine_bytes(*recontrast_engine()))
    assert "coreset_ratio" not in manifest["training"]
    training = {**manifest["training"], "coreset_ratio": None}
    with pytest.raises(EngineError, match="canonical form"):
        verify_bytes(put_together(table, {**manifest, "training": training}, body), "e")


def test_memory_bank_head_and_members() -> None:
    draft = ENGINES["ensemble"][0]
    assert [member.name for member in draft.all_members] == ["tiny", "tiny 1"]
    assert draft.all_members[0].head is draft.head
    assert member_tensor(0, "bank/features") == "bank/features"
    assert member_tensor(2, "bank/features") == "members/2/bank/features"
    assert small_engine()[0].all_members[0].training_settings == {"layers": "2,3", "batch": 4}
    with pytest.raises(TypeError, match="memory bank, got 'cosine_distance'"):
        _ = ENGINES["recontrast"][0].memory_bank


def test_members_and_fusion_belong_together() -> None:
    made = ENGINES["ensemble"]
    refused(made, "a fusion belongs to the members", fusion=None)
    single = {name: t for name, t in made[1].items() if not name.startswith("members/")}
    refused((made[0], single), "a fusion belongs to the members", members=None)
    refused(made, "unknown tensor 'members/1/", members=None, fusion=None)
    refused((made[0], single), "lacks tensor 'members/1/bank/features'")
    more = (*made[0].members, made[0].members[0])  # type: ignore[misc]
    refused(made, "lacks tensor 'members/2/bank/features'", members=more)
    three = ENGINES["ensemble of three"][0].fusion
    refused(made, "3 values of median for 2 members", fusion=three)
    for name in ("median", "mad", "map_median", "map_mad"):
        uneven = made[0].fusion.model_copy(update={name: (1.0, 2.0, 3.0)})  # type: ignore[union-attr]
        refused(made, f"3 values of {name} for 2 members", fusion=uneven)
    with_index = {"index/faiss": np.zeros(9, np.uint8)}
    refused(made, "an ensemble searches its banks exactly", with_index, index=index())


def member(**changes: Any) -> Any:
    members = ENGINES["ensemble"][0].members
    assert members is not None
    return (members[0].model_copy(update=changes),)


def test_members_fit_the_first_and_their_own_tensors() -> None:
    made = ENGINES["ensemble"]
    (own,) = member()
    for change in ({"resize": (40, 40)}, {"crop": None}, {"color_order": "bgr"}):
        preprocessing = own.preprocessing.model_copy(update=change)
        refused(
            made, f"member 1 .*{next(iter(change))}", members=member(preprocessing=preprocessing)
        )
    network = own.network.model_copy(update={"input_size": (64, 64)})
    refused(made, "member 1 .*network takes", members=member(network=network))
    network = own.network.model_copy(update={"grid": (64, 4)})
    refused(made, "member 1 .*finer than", members=member(network=network))
    head = own.head.model_copy(update={"neighbors": 7})
    refused(made, "member 1 .*7 neighbours in a bank of 6 rows", members=member(head=head))
    other = np.frombuffer(b"other", np.uint8)
    refused(made, "member 1 .*not the one", {"members/1/network/onnx": other})
    bank, sources = made[1]["members/1/bank/features"], made[1]["members/1/bank/sources"]
    refused(made, "member 1 .*bank has 7", {"members/1/bank/features": bank[:, :7].copy()})
    refused(
        made, r"should be int32 of shape \(M1 = 6, 3\)", {"members/1/bank/sources": sources[:5]}
    )
    wrong = sources.copy()
    wrong[0, 1] = 8  # rows of its grid: 0 to 7
    refused(made, "'members/1/bank/sources' points outside", {"members/1/bank/sources": wrong})
    refused(made, "'members/1/bank/sources' points outside", {"members/1/bank/sources": -sources})


def test_the_first_members_sources_keep_its_own_grid() -> None:
    sources = ENGINES["ensemble"][1]["bank/sources"].copy()
    sources[0, 1] = 4  # would lie on the other member's grid
    refused(ENGINES["ensemble"], "'bank/sources' points outside", {"bank/sources": sources})


@pytest.mark.parametrize(
    ("engine", "path", "value"),
    [
        ("ensemble", "members", []),
        ("ensemble", "members.0.head.type", "cosine_distance"),
        ("ensemble", "members.0.name", ""),
        ("ensemble", "members.0.threshold", 1),
        ("ensemble", "fusion.mad.1", 0.0),
        ("ensemble", "fusion.mad.0", -1.0),
        ("ensemble", "fusion.mad.0", 5e-324),
        ("ensemble", "fusion.map_mad.1", 0.0),
        ("ensemble", "fusion.median.0", 1e31),
        ("ensemble", "fusion.beta", 0.0),
        ("ensemble", "fusion.beta", -1.4826),
        ("ensemble", "fusion.median", [1.0]),
        ("ensemble", "fusion.median", []),
        ("refined", "refinement.scale", 0.0),
        ("refined", "refinement.scale", -1.0),
        ("refined", "refinement.picture", 1),
        ("refined", "refinement.score", "mean"),
        ("refined", "refinement.sigma", 257.0),
        ("refined", "refinement.onnx_sha256", "../network"),
        ("recontrast", "head.pairs", []),
        ("recontrast", "head.pairs.0", [0]),
        ("recontrast", "head.pairs.0.1", -1),
        ("recontrast", "head.pairs.1.0", 16),
        ("recontrast", "head.pairs.1.0", 1.0),
        ("recontrast", "head.score", "minimum"),
        ("recontrast", "head.align_corners", 1),
        ("recontrast", "head.neighbors", 3),
        ("recontrast", "head.type", "flow"),
        ("grad", "head.levels", []),
        ("grad", "head.levels.0", 0),
        ("grad", "head.levels.1", 68.0),
        ("grad", "head.fusion", "sum"),
        ("grad", "head.score", "maximum"),
        ("grad", "head.pairs", [[0, 1]]),
        ("fod", "head.score", "mean"),
        ("fod", "head.levels", []),
        ("fod", "head.levels.0.errors", -1),
        ("fod", "head.levels.0.grid", [4, 4, 4]),
        ("fod", "head.levels.0.stride", 8),
        ("reconpatch", "head.aggregation.variant", "maximum"),
    ],
)
def test_fields_are_strict_and_closed(engine: str, path: str, value: object) -> None:
    table, manifest, body = take_apart(engine_bytes(*ENGINES[engine]))
    *rooms, last = path.split(".")
    place: Any = manifest
    for room in rooms:
        place = place[int(room) if isinstance(place, list) else room]
    place[int(last) if isinstance(place, list) else last] = value
    shown = "head" if path == "head.type" else path
    with pytest.raises(EngineError, match=f"does not accept: {shown}"):
        verify_bytes(put_together(table, manifest, body), "part.pyad")


def test_refinement_has_its_network_and_its_range() -> None:
    made, maximum = ENGINES["refined"], ENGINES["refined maximum"]
    without = {name: t for name, t in made[1].items() if name != "refinement/onnx"}
    refused((made[0], without), "lacks tensor 'refinement/onnx'")
    refused(made, "unknown tensor 'refinement/onnx'", refinement=None)
    other = np.frombuffer(b"other", np.uint8)
    refused(made, "refinement network is not the one", {"refinement/onnx": other})
    for name in ("calibration/map_maxima", "calibration/scores", "golden/scores"):
        for shift in (2.0, -2.0):
            moved = maximum[1][name] + np.float32(shift)
            refused(maximum, f"'{name}' leaves the range of a refined map", {name: moved})
    kept = made[1]["calibration/scores"] + np.float32(9)  # these keep their own range
    verify_bytes(engine_bytes(made[0], {**made[1], "calibration/scores": kept}), "e")


def test_tiles_fit_every_member() -> None:
    draft, tensors = declared_engine()
    ensemble, parts = ENGINES["ensemble"]
    (other,) = member()
    other = other.model_copy(update={"preprocessing": draft.preprocessing})
    extra = {name: t for name, t in parts.items() if name.startswith("members/")}
    whole = {"members": (other,), "fusion": ensemble.fusion}
    made = (draft.model_copy(update=whole), {**tensors, **extra})
    assert verify_bytes(engine_bytes(*made), "e")[0].format_version == 4
    odd = other.model_copy(update={"network": other.network.model_copy(update={"grid": (5, 8)})})
    refused(made, "member 1 .*5 patches and overlap", members=(odd,))


@pytest.mark.parametrize("name", ENGINES)
def test_description_and_table(name: str, tmp_path: Any) -> None:
    draft, tensors = ENGINES[name]
    engine: Engine = read_engine(write_engine(tmp_path / "e.pyad", manifest=draft, tensors=tensors))
    content = describe(engine)
    rows = dict(engine_rows(content))
    assert rows["method"].startswith(draft.method)
    has_bank = draft.method not in ("recontrast", "grad", "fod")
    assert (content["bank"] is not None) == has_bank
    assert ("memory bank" in rows) == ("search" in rows) == has_bank
    assert ("refinement" in rows) == (draft.refinement is not None)
    members = draft.members or ()
    assert [key for key in rows if key.startswith("member ")] == [
        f"member {i}" for i in range(1, 1 + len(members))
    ]
    assert ("fusion" in rows) == bool(members)


@pytest.mark.parametrize("name", ENGINES)
def test_info_prints_them(name: str, tmp_path: Any) -> None:
    draft, tensors = ENGINES[name]
    path = write_engine(tmp_path / "e.pyad", manifest=draft, tensors=tensors)
    answer = call("info", path)
    assert answer.code == 0, answer.err
    text = " ".join(answer.out.split())
    assert "format 4, verified" in text
    if draft.refinement is not None:
        assert "a network draws the map again, from the map and the picture" in text
    if draft.fusion is not None:
        assert "(4, 1); (5, 2)" in text
        assert "member 1 tiny 1, tiny: layer2, layer3; scoring reweighted" in text
    if draft.method == "recontrast":
        assert "2 pairs: layer2 - decoder2, layer3 - decoder3" in text
    if draft.method == "grad":
        assert "maximum of the score map of levels 34, 68, fused by their maximum" in text
    if draft.method == "fod":
        assert "rec*div of the correlations of 4 x 4 and 2 x 2 patches" in text
    content = json.loads(call("info", path, "--json").out)
    assert content["method"] == draft.method
    assert len(content.get("members", ())) == len(draft.members or ())


def test_scores_below_zero_have_thresholds_p_values_and_verdicts() -> None:
    """Scores of an ensemble lie around 0; nothing of what follows them may depend on the sign."""
    rng = np.random.default_rng(0)
    scores = np.sort(rng.gamma(4, size=30))
    for shift in (0.5, 5.0, 100.0):
        moved = scores - shift
        for rate in (0.2, 0.01):  # proved by ranks, and beyond them
            limit, before = threshold_for(moved, rate), threshold_for(scores, rate)
            assert limit.value == pytest.approx(before.value - shift, abs=1e-12)
            assert (limit.method, limit.normal_above) == (before.method, before.normal_above)
            assert f"Scores above {limit.value:.6g} are" in limit.statement()
        for score in scores[::7]:
            assert p_value(float(score - shift), moved) == p_value(float(score), scores)
    negative = threshold_for(scores - 100.0, 0.2).value
    assert negative < 0
    assert Verdict.of(negative, negative, None) is Verdict.OK
    assert Verdict.of(negative / 2, negative, None) is Verdict.NG
    assert Verdict.of(negative, negative / 2, negative * 2) is Verdict.REVIEW


@pytest.mark.parametrize("name", ["refined ensemble", "refined maximum", "grad"])
def test_every_damaged_byte_is_found(name: str) -> None:
    data = engine_bytes(*ENGINES[name])
    rng = np.random.default_rng(0)
    for place in rng.choice(len(data), 200, replace=False):
        damaged = bytearray(data)
        damaged[place] ^= 1 << int(rng.integers(8))
        with pytest.raises(EngineError):
            verify_bytes(bytes(damaged), "part.pyad")
