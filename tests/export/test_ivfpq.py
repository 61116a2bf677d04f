"""The approximate index from training to inspection: measured, verified, asked for by name."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from command_line import call
from engine_factory import put_together, take_apart
from tiny_engine import write_backbone

from pyad_edge import Runtime, read_image
from pyad_edge.engine import Engine, read_engine, verify_bytes
from pyad_edge.errors import BackendError, EngineError
from pyad_edge.export.data import load_dataset, split_holdout
from pyad_edge.export.demo.part import write_dataset
from pyad_edge.heads.approximate_index import ApproximateBank
from pyad_edge.heads.ivfpq_layout import IvfPqLayout, check_index
from pyad_edge.heads.memory_bank import embed
from pyad_edge.ops import nearest_neighbors
from pyad_edge.preprocessing import to_batch

pytest.importorskip("faiss")

INDEX = ("--index", "ivfpq", "--pq-m", 3, "--pq-nbits", 4, "--nlist", 20)
INDEX += ("--nprobe", 3, "--candidates", 12)
TRAIN = ("--size", 96, "--coreset", 1)


@dataclass(frozen=True, eq=False)
class Trained:
    engine: Engine
    data: Path
    backbone: Path
    said: str


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("ivfpq")
    data = write_dataset(folder / "part", seed=11, train=14, good=2, per_defect=1, size=96)
    backbone = write_backbone(folder / "tiny.onnx")
    path = folder / "part.pyad"
    common = ("train", "patchcore", "--data", data, "--out", path, "--backbone", backbone)
    answer = call(*common, *TRAIN, *INDEX)
    assert answer.code == 0, answer.err
    return Trained(read_engine(path), data, backbone, " ".join(answer.err.split()))


def test_recorded_errors_are_those_of_an_independent_exact_search(trained: Trained) -> None:
    manifest = trained.engine.manifest
    assert manifest.index is not None
    recorded = manifest.index.errors
    pipeline = Runtime(trained.engine)._pipeline
    bank = trained.engine.tensors["bank/features"]
    _, held = split_holdout(load_dataset(trained.data).train, fraction=0.2, seed=0)
    found, errors = 0, []
    for path in held:
        levels = pipeline.backend.run(to_batch([read_image(path)], manifest.preprocessing))
        queries = embed(levels, manifest.head).reshape(-1, bank.shape[1])
        exact = np.sqrt(nearest_neighbors(queries, bank)[0][:, 0])
        scores = pipeline.head.score(levels)
        guess = scores.distances.ravel()
        real = np.linalg.norm(queries - bank[scores.rows.ravel()], axis=1)
        np.testing.assert_allclose(guess, real, rtol=1e-5)  # distances of the rows it names
        assert (guess >= exact).all()
        found += int((guess == exact).sum())
        errors.append((guess - exact) / np.maximum(exact, 0.01 * exact.mean(dtype=np.float64)))
    relative = np.concatenate(errors)
    assert 0.5 < recorded.recall_at_1 < 1
    assert recorded.recall_at_1 == found / relative.size
    assert (recorded.pictures, recorded.patches) == (len(held), relative.size)
    assert recorded.patch_mean == pytest.approx(relative.mean(), rel=1e-5)
    assert recorded.patch_max == pytest.approx(relative.max(), rel=1e-5)


def test_training_and_info_print_what_it_misses(trained: Trained) -> None:
    index = trained.engine.manifest.index
    assert index is not None
    assert index.statement() in trained.said
    answer = call("info", trained.engine.path, "--json")
    assert index.statement() in answer.out
    assert trained.engine.manifest.format_version == 2
    assert Runtime(trained.engine).info["search"] == index.statement()


def test_an_index_of_the_first_version_still_opens() -> None:
    engine = read_engine(Path(__file__).parents[1] / "engines" / "v2_patchcore.pyad")
    runtime = Runtime(engine)  # scores the golden frames
    bank = runtime._pipeline.head.approximate
    assert bank is not None
    rows = engine.tensors["bank/features"]
    queries = rows[::7] + np.float32(0.001)
    for ours, exact in zip(
        bank.search(queries, k=3), nearest_neighbors(queries, rows, k=3), strict=True
    ):
        np.testing.assert_array_equal(ours, exact)  # all lists are searched, for 256 candidates
    assert bank.exact_searches == 0


def test_eval_and_run_use_the_index(trained: Trained) -> None:
    answer = call("eval", trained.engine.path, "--data", trained.data, "--json")
    assert answer.code == 0, answer.err
    assert 0 <= json.loads(answer.out)["image_auroc"] <= 1
    folder = trained.data / "test" / "good"
    answer = call("run", trained.engine.path, "--source", folder)
    assert answer.code == 0, answer.err
    lines = [json.loads(line) for line in answer.out.splitlines()]
    runtime = Runtime(trained.engine)
    scores = [runtime.infer(read_image(path)).score for path in sorted(folder.iterdir())]
    assert [line["score"] for line in lines] == pytest.approx(scores, rel=1e-6)


def test_queries_with_too_few_candidates_are_searched_exactly(trained: Trained) -> None:
    index = trained.engine.manifest.index
    assert index is not None
    rows = trained.engine.tensors["bank/features"]
    narrow = index.model_copy(update={"nprobe": 1, "candidates": 2000})
    bank = ApproximateBank(rows, trained.engine.tensors["index/faiss"], narrow)
    queries = rows[:5] + np.float32(0.01)
    found, exact = bank.search(queries, k=1000), nearest_neighbors(queries, rows, k=1000)
    assert bank.exact_searches == 5
    for ours, theirs in zip(found, exact, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_without_faiss_the_sentence_names_the_extra(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(BackendError, match=r"pip install 'pyad_edge\[faiss\]', or .* without --in"):
        Runtime(trained.engine)
    assert call("info", trained.engine.path).code == 0
    for command in (("eval", "--data", trained.data), ("run", "--source", trained.data)):
        answer = call(command[0], trained.engine.path, *command[1:])
        assert answer.code == 5
        assert "pip install 'pyad_edge[faiss]'" in answer.sentence
    out = tmp_path / "new.pyad"
    common = ("train", "patchcore", "--data", trained.data, "--out", out)
    answer = call(*common, "--backbone", trained.backbone, *TRAIN, *INDEX)
    assert answer.code == 5
    assert "pip install 'pyad_edge[faiss]'" in answer.sentence
    assert not out.exists()


def test_damage_and_contradictions_are_refused(trained: Trained) -> None:
    data = bytearray(trained.engine.path.read_bytes())
    data[-1] ^= 1
    with pytest.raises(EngineError, match="does not match its SHA-256"):
        verify_bytes(bytes(data), "part.pyad")
    table, manifest, body = take_apart(trained.engine.path.read_bytes())
    for field, value, reason in (
        ("nlist", 21, "index should have .* bytes"),
        ("m", 5, "dimensions into 5 equal parts"),
        ("nprobe", 21, "searches 21 of 20 lists"),
        ("candidates", 3, "gives 3 candidates"),
    ):
        wrong = {**manifest, "index": {**manifest["index"], field: value}}
        with pytest.raises(EngineError, match=reason):
            verify_bytes(put_together(table, wrong, body), "part.pyad")
    with pytest.raises(EngineError, match="format 2 has an index"):
        verify_bytes(put_together(table, {**manifest, "format_version": 1}, body), "part.pyad")


def test_only_the_layout_that_the_manifest_demands_reaches_faiss(trained: Trained) -> None:
    tensor = trained.engine.tensors["index/faiss"]
    M, D = trained.engine.tensors["bank/features"].shape
    layout = IvfPqLayout(M=M, D=D, nlist=20, m=3, nbits=4)
    assert len(tensor) == layout.size
    assert check_index(tensor, layout) is None
    head, books, lists = map(len, layout._sections(b""))
    structure = [*range(45), *range(53, head)]  # all but nprobe, which the manifest states
    structure += range(head + 4 * 20 * D, head + 4 * 20 * D + books)
    codes = head + 4 * 20 * D + books + 4 * 16 * D + lists
    structure += range(codes - lists, codes + 8 * 20)
    for position in structure:
        damaged = tensor.copy()
        damaged[position] ^= 1
        assert check_index(damaged, layout) is not None, position
    twice = tensor.copy()
    twice[-8:] = twice[-16:-8]
    assert check_index(twice, layout) == "its index leaves rows of the bank out"
    outside = tensor.copy()
    outside[-1] = 0x7F
    assert check_index(outside, layout) == "its index points outside of the bank"
    broken = tensor.copy()
    broken[head : head + 4] = np.frombuffer(np.float32(np.nan).tobytes(), np.uint8)
    assert check_index(broken, layout) == "its index holds NaN or infinity"
    assert check_index(tensor[:-1], layout) is not None


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--index", "ivfpq"), "needs a coreset of 1, got 0.01"),
        (("--nprobe", 3), "need the index 'ivfpq'"),
        (("--coreset", 1, "--index", "ivfpq"), "at least 9,984 bank rows .* got 1,584"),
        ((*TRAIN[2:], *INDEX, "--pq-m", 7), "--pq-m as a divisor of the 24"),
        ((*TRAIN[2:], *INDEX, "--nprobe", 21), "--nprobe of 1 to 20"),
        ((*TRAIN[2:], *INDEX, "--candidates", 4), "--candidates of 9"),
    ],
)
def test_settings_that_do_not_fit(
    trained: Trained, tmp_path: Path, options: tuple[object, ...], reason: str
) -> None:
    out = tmp_path / "new.pyad"
    common = ("train", "patchcore", "--data", trained.data, "--out", out, "--size", 96)
    answer = call(*common, "--backbone", trained.backbone, *options)
    assert answer.code == 2
    assert re.search(reason, " ".join(answer.sentence.split()))
