"""CUDA faces with torch's tensors and streams: no copy, nothing allocated, nothing waited for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pyad_edge import ops
from pyad_edge.ops import cuda

torch = pytest.importorskip("torch")

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(cuda.device_count() == 0, reason="no CUDA device here"),
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch is built without CUDA"),
]

NORM: dict[str, Any] = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
# Fills `out`, given the stream; and what it has to hold.
Call = Callable[[Any, int], Any]
Case = tuple[Call, np.ndarray]


def preprocess() -> Case:
    image = np.random.default_rng(0).integers(0, 256, (2, 97, 131, 3), np.uint8)
    on_device = torch.from_numpy(image).cuda()[:, 5:, ::2].permute(0, 2, 1, 3)  # strides
    expected = ops.preprocess(image[:, 5:, ::2].transpose(0, 2, 1, 3), resize=(40, 44), **NORM)

    def call(out: Any, stream: int) -> Any:
        return cuda.preprocess(on_device, resize=(40, 44), out=out, stream=stream, **NORM)

    return call, expected


def patch_aggregation() -> Case:
    rng = np.random.default_rng(1)
    features = [rng.standard_normal(s, np.float32) for s in ((2, 16, 12, 11), (2, 24, 6, 6))]
    on_device = [torch.from_numpy(feature).cuda() for feature in features]
    expected = ops.patch_aggregation(features, pre_dim=40, target_dim=36)

    def call(out: Any, stream: int) -> Any:
        settings: dict[str, Any] = {"pre_dim": 40, "target_dim": 36}
        return cuda.patch_aggregation(on_device, out=out, stream=stream, **settings)

    return call, expected


def anomaly_map() -> Case:
    scores = np.random.default_rng(2).gamma(2.0, 3.0, (3, 14, 13)).astype(np.float32)
    on_device = torch.from_numpy(scores).cuda()
    size = (112, 100)
    workspace = cuda.anomaly_map_workspace(3, size=size)
    maxima = torch.empty(3, device="cuda")

    def call(out: Any, stream: int) -> Any:
        return cuda.anomaly_map(
            on_device, size=size, out=(out, maxima), workspace=workspace, stream=stream
        )[0]

    return call, ops.anomaly_map(scores, size=size)[0]


def nearest_neighbors(form: str) -> Case:
    rng = np.random.default_rng(3)
    bank, queries = (rng.standard_normal((n, 40), np.float32) for n in (700, 90))
    on_device = torch.from_numpy(queries).cuda()
    prepared = cuda.MemoryBank(torch.from_numpy(bank).cuda())
    workspace = prepared.workspace(90, k=2, form=form)
    indices = torch.empty((90, 2), dtype=torch.int64, device="cuda")

    def call(out: Any, stream: int) -> Any:
        return prepared.search(
            on_device, k=2, form=form, out=(out, indices), workspace=workspace, stream=stream
        )[0]

    return call, ops.nearest_neighbors(queries, bank, k=2)[0]


def fused_search() -> Case:
    return nearest_neighbors("half_fused")


def gemm_search() -> Case:
    return nearest_neighbors("half_gemm")


def density_weights() -> Case:
    rng = np.random.default_rng(4)
    rows = [rng.standard_normal((n, 24), np.float32) for n in (70, 300)]
    on_device = [torch.from_numpy(part).cuda() for part in rows]
    workspace = cuda.density_weights_workspace(70, 300, 24)

    def call(out: Any, stream: int) -> Any:
        return cuda.density_weights(
            *on_device, beta=9.0, out=out, workspace=workspace, stream=stream
        )

    return call, ops.density_weights(*rows, beta=9.0)


def cosine_distance_map() -> Case:
    rng = np.random.default_rng(5)
    grids = [(9, 8), (4, 4)]
    sides = [[rng.standard_normal((2, 16, *g), np.float32) for g in grids] for _ in range(2)]
    encoder, decoder = ([torch.from_numpy(f).cuda() for f in side] for side in sides)
    size = (60, 52)
    workspace = cuda.cosine_distance_map_workspace(2, grids, size=size)
    maxima, means = (torch.empty(2, device="cuda") for _ in range(2))

    def call(out: Any, stream: int) -> Any:
        written = (out, maxima, means)
        return cuda.cosine_distance_map(
            encoder, decoder, size=size, out=written, workspace=workspace, stream=stream
        )[0]

    return call, ops.cosine_distance_map(*sides, size=size)[0]


def correlation_divergence() -> Case:
    rng = np.random.default_rng(6)
    features = [rng.standard_normal((2, 3, 20, 16), np.float32) for _ in range(2)]
    sigmas = [rng.uniform(0.5, 3.0, (2, 3, 20)).astype(np.float32) for _ in range(2)]
    on_device = [torch.from_numpy(array).cuda() for array in (*features, *sigmas)]
    per_head = torch.empty((2, 3, 20), device="cuda")

    def call(out: Any, stream: int) -> Any:
        return cuda.correlation_divergence(
            *on_device, grid=(4, 5), out=(out, per_head), stream=stream
        )[0]

    return call, ops.correlation_divergence(*features, *sigmas, grid=(4, 5))[0]


CASES = pytest.mark.parametrize(
    "case",
    [
        preprocess,
        patch_aggregation,
        anomaly_map,
        fused_search,
        gemm_search,
        density_weights,
        cosine_distance_map,
        correlation_divergence,
    ],
)


@CASES
def test_a_call_on_a_stream_of_torch_writes_into_its_tensor(case: Callable[[], Case]) -> None:
    call, expected = case()
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        out = torch.full(expected.shape, float("nan"), device="cuda")
        assert call(out, stream.cuda_stream) is out
        doubled = out * 2  # ordered by the stream alone
    stream.synchronize()
    assert out.cpu().numpy().tobytes() == expected.tobytes()
    assert doubled.cpu().numpy().tobytes() == (expected * 2).tobytes()


@CASES
def test_a_call_can_be_captured_into_a_graph(case: Callable[[], Case]) -> None:
    """Allocating or waiting while a stream is captured is an error."""
    call, expected = case()
    out = torch.empty(expected.shape, device="cuda")
    stream = torch.cuda.Stream()
    call(out, stream.cuda_stream)  # copies the weights
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
        call(out, stream.cuda_stream)
    for _ in range(2):
        out.fill_(float("nan"))
        graph.replay()
        torch.cuda.synchronize()
        assert out.cpu().numpy().tobytes() == expected.tobytes()


def test_a_tensor_made_on_another_stream_is_waited_for() -> None:
    side = torch.cuda.Stream()
    rows = np.random.default_rng(7).standard_normal((500, 64), np.float32)
    base = torch.from_numpy(rows).cuda()
    torch.cuda.synchronize()
    with torch.cuda.stream(side):
        torch.cuda._sleep(50_000_000)
        late = base * 2
        distances, _ = cuda.nearest_neighbors(late, late, k=2)
    torch.cuda.synchronize()
    expected, _ = ops.nearest_neighbors(rows * 2, rows * 2, k=2)
    assert distances.numpy().tobytes() == expected.tobytes()


def test_a_tensor_that_requires_a_gradient_is_answered_with_a_sentence() -> None:
    rows = torch.ones((4, 3), device="cuda", requires_grad=True)
    with pytest.raises(TypeError, match=r"^\[nearest_neighbors\] bank .*\.detach\(\)"):
        cuda.nearest_neighbors(rows, rows)
