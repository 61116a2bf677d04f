"""Engines of format 4: other methods, sums, ensembles, refinements, and what must agree in them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from command_line import call
from engine_factory import (
    Tensors,
    declared_engine,
    engine_bytes,
    ensemble_engine,
    fod_engine,
    grad_engine,
    put_together,
    reconpatch_engine,
    recontrast_engine,
    refined,
    small_engine,
    take_apart,
)

from pyad_edge.calibration import p_value, threshold_for
from pyad_edge.engine import Engine, describe, read_engine, verify_bytes
from pyad_edge.engine_manifest import (
    Aggregation,
    IndexErrors,
    IvfPqIndex,
    ManifestDraft,
    format_version,
    member_tensor,
)
from pyad_edge.engine_table import engine_rows
from pyad_edge.errors import EngineError
from pyad_edge.export.engine_writer import write_engine
from pyad_edge.result import Verdict

Made = tuple[ManifestDraft, Tensors]

ENGINES: dict[str, Made] = {
    "reconpatch": reconpatch_engine(),
    "ensemble": ensemble_engine(),
    "ensemble of three": ensemble_engine(onnx=(b"a", b"b", b"c")),
    "recontrast": recontrast_engine(),
    "grad": grad_engine(),
    "fod": fod_engine(),
    "refined": refined(*small_engine()),
    "refined maximum": refined(*recontrast_engine(), score="maximum"),
    "refined ensemble": refined(*ensemble_engine()),
}


def refused(made: Made, reason: str, tensors: dict[str, Any] | None = None, **draft: Any) -> None:
    """Written by our own writer: every hash is right, the parts do not fit each other."""
    data = engine_bytes(made[0].model_copy(update=draft), {**made[1], **(tensors or {})})
    with pytest.raises(EngineError, match=f"contradicts itself: .*{reason}"):
        verify_bytes(data, "part.pyad")


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


def test_methods_and_heads_belong_together() -> None:
    bank, cosine = small_engine(), ENGINES["recontrast"]
    refused(bank, "needs cosine distances, not 'memory_bank'", method="recontrast")
    refused(cosine, "needs a memory bank, not 'cosine_distance'", method="patchcore")
    refused(cosine, "needs a memory bank, not 'cosine_distance'", method="reconpatch")
    refused(cosine, "needs a score map, not 'cosine_distance'", method="grad")
    refused(ENGINES["grad"], "needs cosine distances, not 'score_map'", method="recontrast")
    refused(cosine, "needs correlations, not 'cosine_distance'", method="fod")
    refused(ENGINES["fod"], "needs a score map, not 'correlation'", method="grad")
    refused(ENGINES["grad"], "needs a memory bank, not 'score_map'", method="patchcore")
    refused(bank, r"added \('sum'\), not aggregated as 'official'", method="reconpatch")
    training = bank[0].training.model_copy(update={"coreset_ratio": None})
    refused(bank, "no coreset_ratio says", training=training)
    refused(cosine, "has a coreset_ratio, but no memory bank", training=bank[0].training)


def test_a_sum_has_no_dimensions() -> None:
    made = ENGINES["reconpatch"]
    for dims in ((8, None), (None, 8), (8, 8)):
        aggregation = Aggregation(variant="sum", pre_dim=dims[0], target_dim=dims[1])
        head = made[0].memory_bank.model_copy(update={"aggregation": aggregation})
        refused(made, "'sum' aggregation has dimensions", head=head)


@pytest.mark.parametrize(
    ("pairs", "reason"),
    [
        (((0, 2), (1, 4)), r"pair \(1, 4\) points outside of its 4 outputs"),
        (((0, 2), (3, 3), (1, 3)), r"pair \(3, 3\) compares an output with itself"),
        (((0, 2), (1, 2)), "no pair reads its output 3"),
    ],
)
def test_pairs_name_outputs(pairs: tuple[tuple[int, int], ...], reason: str) -> None:
    made = ENGINES["recontrast"]
    refused(made, reason, head=made[0].head.model_copy(update={"pairs": pairs}))


@pytest.mark.parametrize("name", ["recontrast", "grad", "fod"])
def test_engines_without_a_bank_have_none_of_it(name: str) -> None:
    made, ensemble = ENGINES[name], ENGINES["ensemble"][0]
    refused(made, "unknown tensor 'bank/features'", {"bank/features": np.ones((2, 8), np.float32)})
    refused(made, "field 'members', which belongs to memory banks", members=ensemble.members)
    refused(made, "field 'fusion', which belongs to memory banks", fusion=ensemble.fusion)
    refused(made, "field 'index', which belongs to memory banks", index=index())
    scores = made[1]["calibration/scores"]
    refused(made, "not sorted", {"calibration/scores": scores[::-1].copy()})
    refused(made, "not the one", {"network/onnx": np.frombuffer(b"other", np.uint8)})


def test_a_score_map_is_one_output_of_ascending_levels() -> None:
    made = ENGINES["grad"]
    backbone = made[0].backbone.model_copy(update={"outputs": ("score_map", "level34")})
    refused(made, "has 2 outputs, but a score map is one", backbone=backbone)
    for levels in ((68, 34), (34, 34)):
        head = made[0].head.model_copy(update={"levels": levels})
        refused(made, rf"levels \({levels[0]}, {levels[1]}\) do not ascend", head=head)
    for name in ("calibration/map_maxima", "calibration/scores", "golden/scores"):
        below = np.sort(made[1][name] - np.float32(9))
        refused(made, f"'{name}' has values below 0, which no score map has", {name: below})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"sigmas": None}, "level 1 has not all of queries, sigmas and keys"),
        ({"queries": None, "sigmas": None, "keys": 1}, "level 1 has not all of queries"),
        ({"queries": None, "sigmas": None}, r"level 1 has not what the score 'rec\*div' is made"),
        ({"errors": None}, r"level 1 has not what the score 'rec\*div' is made"),
        ({"errors": 0}, r"read the outputs \[0, 0, 1, 2, 4, 5\] of 6, not each of them once"),
        ({"errors": 9}, r"read the outputs \[0, 1, 2, 4, 5, 9\] of 6"),
        ({"keys": 3}, "not each of them once"),
        ({"grid": (2, 3)}, "correlations are of 2 x 3 patches, but its network takes 32 x 32"),
        ({"grid": (4, 2)}, "correlations are of 4 x 2 patches, but its network takes 32 x 32"),
        (
            {"grid": (4, 4)},
            r"'reference/keys/1' should be float32 of shape \(heads 1 = 2, 16, dims",
        ),
    ],
)
def test_levels_of_correlations_agree(change: dict[str, Any], reason: str) -> None:
    made = ENGINES["fod"]
    levels = made[0].head.model_dump()["levels"]
    changed = (levels[0], levels[1] | change)
    head = type(made[0].head).model_validate({**made[0].head.model_dump(), "levels": changed})
    refused(made, reason, head=head)


def test_correlations_hold_for_one_number_of_patches() -> None:
    """Of another picture size the softmax would mean something else."""
    made = ENGINES["fod"]
    network = made[0].network.model_copy(update={"input_size": (64, 32)})
    refused(
        made, "correlations are of 4 x 4 patches, but its network takes 64 x 32", network=network
    )
    network = made[0].network.model_copy(update={"grid": (2, 2)})
    refused(made, r"grid \(2, 2\) is not that of its first level", network=network)
    short = made[1]["reference/keys/1"][:, :3]
    refused(made, "'reference/keys/1' should be float32", {"reference/keys/1": short})
    for name in ("calibration/scores", "golden/scores"):
        below = np.sort(made[1][name] - np.float32(9))
        refused(made, f"'{name}' has values below 0, which no error", {name: below})


def index() -> IvfPqIndex:
    errors = IndexErrors(
        pictures=2,
        patches=32,
        recall_at_1=1.0,
        patch_mean=0.0,
        patch_max=0.0,
        image_mean=0.0,
        image_max=0.0,
        exact_searches=0,
    )
    return IvfPqIndex(
        type="faiss_ivfpq",
        faiss="1.0",
        nlist=1,
        m=1,
        nbits=4,
        nprobe=1,
        candidates=4,
        errors=errors,
    )


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
