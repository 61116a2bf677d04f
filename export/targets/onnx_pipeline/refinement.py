"""The map drawn again by a network, as an engine's last stage."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pyad_edge.backends.onnxruntime_session import open_session
from pyad_edge.engine_manifest import Refinement
from pyad_edge.errors import BackendError
from pyad_edge.export.targets.onnx_pipeline.anomaly_map import smoothed
from pyad_edge.export.targets.onnx_pipeline.faults import Faults
from pyad_edge.export.targets.onnx_pipeline.graph import GraphBuilder
from pyad_edge.export.targets.onnx_pipeline.network import InnerNetwork
from pyad_edge.export.targets.onnx_pipeline.parts import Scored
from pyad_edge.refined_pipeline import OUTPUT

__all__ = ["check_batch", "refined"]


def refined(
    graph: GraphBuilder,
    scored: Scored,
    network: InnerNetwork,
    settings: Refinement,
    *,
    picture: str,
    size: tuple[int, int],
    shown: NDArray[np.bool_] | None,
    faults: Faults,
) -> Scored:
    """Refined maps, and the scores that go with them.

    Args:
        graph: that grows.
        scored: scores and maps as they are.
        network: of the refinement.
        settings: of the engine.
        picture: the pre-processed picture, (N, 3, H, W).
        size: (H, W).
        shown: (H, W) bool, where a region of interest leaves the map; None: there is none.
        faults: conditions that are added to.
    """
    shifted = graph.op("Sub", scored.maps, graph.constant(settings.offset, "offset"))
    given = graph.op("Div", shifted, graph.constant(settings.scale, "scale"))
    value = graph.op("Unsqueeze", given, graph.constant([1], "axes"))
    if settings.picture:
        value = graph.op("Concat", value, picture, axis=1)
    (drawn,) = network.put_into(graph, value, (OUTPUT,), prefix="refinement_network")
    faults.require(drawn, [1, 2, 3], low=0.0, high=1.0)
    maps = graph.reshape(drawn, [-1, *size])
    if shown is not None:
        maps = graph.op("Mul", maps, graph.constant(shown.astype(np.float32), "shown"))
    if settings.sigma:
        maps = smoothed(graph, maps, size, size, settings.sigma)
    if settings.score == "keep":
        return Scored(scored.image, maps)
    return Scored(graph.reduce("ReduceMax", maps, [1, 2]), maps)


def check_batch(network: InnerNetwork, batch: int | None, shape: tuple[int, int, int]) -> None:
    """A refinement is written for one map: see that it draws two as it draws each of them.

    Args:
        network: of the refinement.
        batch: of the graph.
        shape: of its input, (channels, H, W).

    Raises:
        BackendError: if it does not, and the graph takes more than one frame.
    """
    if batch == 1:
        return
    free = network.proto.__class__()
    free.CopyFrom(network.proto)
    for value in (*free.graph.input, *free.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    del free.graph.value_info[:]
    maps = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    name = free.graph.input[0].name
    try:
        session = open_session(free.SerializeToString(), threads=1)
        both, *single = (
            session.run([OUTPUT], {name: given})[0] for given in (maps, maps[:1], maps[1:])
        )
        agrees = both.shape == (2, 1, *shape[1:]) and np.allclose(
            both, np.concatenate(single), rtol=0, atol=1e-5
        )
    except Exception:  # the runtime's own, of a shape that is written into the network
        agrees = False
    if not agrees:
        raise BackendError(
            "[export onnx] the refinement of this engine draws one map at a time. Export with "
            "batch 1, or train the refinement again."
        )
