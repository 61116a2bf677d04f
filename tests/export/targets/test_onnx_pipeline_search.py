"""The search inside a graph: neighbours, ties, memory, limits; and the descriptors before it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto
from pipeline_graphs import assert_agree, graph_of, opened, patchcore, random_frames, write
from pipeline_parts import built, largest_tensor

from pyad_edge import Runtime
from pyad_edge.engine_manifest import Aggregation
from pyad_edge.errors import SettingError
from pyad_edge.export.targets.onnx_pipeline import graph as graph_module
from pyad_edge.export.targets.onnx_pipeline import nearest_neighbors as search_module
from pyad_edge.export.targets.onnx_pipeline.graph import GraphBuilder
from pyad_edge.export.targets.onnx_pipeline.nearest_neighbors import GraphBank
from pyad_edge.export.targets.onnx_pipeline.patch_aggregation import descriptors
from pyad_edge.ops import nearest_neighbors, patch_aggregation


def found_by(
    queries: np.ndarray, bank: np.ndarray, chunk_rows: int
) -> tuple[np.ndarray, np.ndarray]:
    graph = GraphBuilder(17)
    inside = GraphBank.put_into(graph, bank, chunk_rows=chunk_rows)
    distances, rows = inside.search("queries")
    kinds = {distances: TensorProto.FLOAT, rows: TensorProto.INT64}
    model = built(graph, {"queries": queries.shape}, kinds)
    session = opened(model).session
    return tuple(session.run([distances, rows], {"queries": queries}))  # type: ignore[return-value]


@pytest.mark.parametrize("chunk_rows", [16, 33, 1024])
def test_neighbours_are_the_kernels_and_the_first_of_equal_rows_wins(chunk_rows: int) -> None:
    rng = np.random.default_rng(0)
    bank = rng.integers(-4, 5, (101, 7)).astype(np.float32)
    bank[90] = bank[3]
    bank[40] = bank[39]
    bank -= bank.mean(axis=0).round()  # whole numbers: every sum is exact, ties are ties
    queries = rng.integers(-4, 5, (57, 7)).astype(np.float32)
    queries[:4] = bank[[90, 40, 3, 100]]
    distances, rows = nearest_neighbors(queries, bank)
    found, indices = found_by(queries, bank, chunk_rows)
    np.testing.assert_array_equal(found, distances[:, 0])
    ties = (distances[:, :1] == ((bank[None] - queries[:, None]) ** 2).sum(axis=2)).sum(axis=1)
    assert (ties > 1).any()
    # The bank's mean is no whole number, so ranks of equal distances may round apart.
    assert (indices == rows[:, 0])[ties == 1].all()
    assert indices[:4].tolist() == [3, 39, 3, 100]


def test_distances_far_from_the_origin_keep_their_digits() -> None:
    rng = np.random.default_rng(1)
    bank = (1000 + rng.random((300, 24))).astype(np.float32)
    queries = (1000 + rng.random((40, 24))).astype(np.float32)
    distances, rows = nearest_neighbors(queries, bank)
    found, indices = found_by(queries, bank, 64)
    np.testing.assert_array_equal(indices, rows[:, 0])
    np.testing.assert_allclose(found, distances[:, 0], rtol=1e-6)


def test_no_tensor_holds_all_patches_by_all_rows(tmp_path: Path) -> None:
    path = write(patchcore(rows=3000), tmp_path)
    graph = graph_of(path, frame_size=(41, 53), batch=2, chunk_rows=128)
    patches, rows = 2 * 4 * 4, 3000
    largest = largest_tensor(graph.model)
    assert largest < patches * rows // 4
    whole = largest_tensor(graph_of(path, frame_size=(41, 53), batch=2, chunk_rows=4096).model)
    assert whole == patches * rows  # so that the measure would see it
    frames = random_frames(2)
    assert_agree(Runtime(path), graph.run(frames), frames)


def test_a_bank_of_fewer_rows_than_neighbours_is_reweighted_by_all(tmp_path: Path) -> None:
    path = write(patchcore(rows=3), tmp_path)
    frames = random_frames(3)
    found = graph_of(path, frame_size=(41, 53), batch=3, chunk_rows=16).run(frames)
    assert_agree(Runtime(path), found, frames)


def test_too_many_chunks_or_bytes_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(patchcore(rows=200), tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(search_module, "MAX_CHUNKS", 5)
        with pytest.raises(SettingError, match=r"200 rows in chunks of 32 makes 7 chunks.*larger"):
            graph_of(path, chunk_rows=32)
        graph_of(path, chunk_rows=40)
    monkeypatch.setattr(search_module, "MAX_BYTES", 200 * 8 * 4 - 1)
    with pytest.raises(SettingError, match=r"200 rows has .* GB; one ONNX file has less than 2"):
        graph_of(path)
    monkeypatch.undo()
    monkeypatch.setattr("pyad_edge.export.targets.onnx_pipeline.build.MAX_BYTES", 10_000)
    assert graph_module.MAX_BYTES > 2e9
    with pytest.raises(SettingError, match=r"would hold .* GB of weights and bank"):
        graph_of(path)


@pytest.mark.parametrize(
    ("variant", "dims"),
    [
        ("official", (5, 11)),
        ("official", (40, 40)),
        ("official", (300, 200)),  # more than one block of dims
        ("average", None),
        ("sum", None),
    ],
)
def test_descriptors_are_the_kernels(variant: Any, dims: tuple[int, int] | None) -> None:
    rng = np.random.default_rng(2)
    channels = (12, 12, 12) if variant == "sum" else (12, 7, 31)
    features = [
        rng.normal(size=(2, C, *grid)).astype(np.float32)
        for C, grid in zip(channels, ((9, 11), (5, 6), (3, 3)), strict=True)
    ]
    pre, target = dims or (None, None)
    settings = Aggregation(variant=variant, pre_dim=pre, target_dim=target)
    graph = GraphBuilder(17)
    names = [f"level{k}" for k in range(3)]
    name = descriptors(graph, names, [f.shape for f in features], settings)
    shapes = {n: f.shape for n, f in zip(names, features, strict=True)}
    session = opened(built(graph, shapes, {name: TensorProto.FLOAT})).session
    (found,) = session.run([name], dict(zip(names, features, strict=True)))
    wanted = patch_aggregation(features, variant=variant, pre_dim=pre, target_dim=target)
    np.testing.assert_allclose(found.transpose(0, 2, 3, 1), wanted, rtol=0, atol=3e-6)
