"""What of an engine fits into a graph of standard operators, looked at before one is made."""

from __future__ import annotations

from pyad_edge.engine import Engine
from pyad_edge.engine_manifest import member_tensor
from pyad_edge.errors import BackendError, SettingError
from pyad_edge.export.targets.onnx_pipeline.network import InnerNetwork
from pyad_edge.export.targets.onnx_pipeline.refinement import check_batch
from pyad_edge.export.targets.onnx_pipeline.settings import PipelineSettings
from pyad_edge.feeder import DeclaredInput

__all__ = ["networks_of", "refinement_of", "refuse_unsupported"]


def networks_of(engine: Engine, settings: PipelineSettings) -> tuple[InnerNetwork, ...]:
    """The members' networks, fit for the graph's batch.

    Raises:
        BackendError: if a network has other operators, or takes another batch.
    """
    networks = []
    for index in range(1 + len(engine.manifest.members or ())):
        model = bytes(engine.tensors[member_tensor(index, "network/onnx")])
        what = "the network" if not index else f"the network of member {index}"
        network = InnerNetwork.read(model, what)
        if network.batch not in (None, settings.batch):
            raise BackendError(
                f"[export onnx] {what} of this engine takes {network.batch} pictures at a "
                f"time, got batch={settings.batch}. Use that, or export its backbone for any."
            )
        networks.append(network)
    return tuple(networks)


def refinement_of(engine: Engine, settings: PipelineSettings) -> InnerNetwork | None:
    """The network of an engine's refinement, fit for the graph's batch; None: it has none.

    Raises:
        BackendError: if it has other operators, or draws one map at a time and the batch is larger.
    """
    refinement = engine.manifest.refinement
    if refinement is None:
        return None
    model = bytes(engine.tensors["refinement/onnx"])
    network = InnerNetwork.read(model, "the refinement")
    size = engine.manifest.network.input_size
    check_batch(network, settings.batch, (4 if refinement.picture else 1, *size))
    return network


def refuse_unsupported(
    engine: Engine,
    settings: PipelineSettings,
    size: tuple[int, int],
    declared: DeclaredInput | None,
) -> None:
    """Refuse what a graph cannot do.

    Args:
        engine: verified.
        settings: of the graph.
        size: (H, W) of its frames.
        declared: the engine's own input; None: it declares none.

    Raises:
        SettingError: names what it is.
    """
    manifest = engine.manifest
    if declared is not None and declared.policy == "tile":
        raise SettingError(
            "[export onnx] this engine cuts its frames into tiles (size policy 'tile'); a graph "
            "runs its network once. Train with --size-policy resize or letterbox."
        )
    if declared is not None and declared.frame_size not in (None, size):
        wanted = declared.frame_size
        raise SettingError(
            f"[export onnx] this engine takes frames of {wanted} (height, width) alone (size "
            f"policy 'error'), got frame_size={size}. Leave frame_size out."
        )
    if manifest.index is not None and not settings.exact_search:
        raise SettingError(
            "[export onnx] this engine searches its bank with an approximate index (IVF-PQ), which "
            "has no form in standard operators. Set exact_search in PipelineSettings, with which "
            "scores differ from the engine's by what its index misses; or train with a --coreset."
        )
