"""The networks of an engine, judged as data before a backend is given one of them."""

from __future__ import annotations

from collections.abc import Mapping

from pyad_edge.engine import Engine
from pyad_edge.engine_common_checks import REFINEMENT
from pyad_edge.engine_manifest import Manifest, Member, member_tensor
from pyad_edge.errors import EngineError
from pyad_edge.onnx_gate.check import check_network
from pyad_edge.onnx_gate.errors import GateError
from pyad_edge.onnx_gate.walk import Prediction

__all__ = ["check_networks"]


def check_networks(engine: Engine) -> Mapping[str, Prediction]:
    """Pass all networks of an engine through the gate; no native parser is called.

    Args:
        engine: read and verified.

    Returns:
        What each takes for one picture, by the name of its tensor.

    Raises:
        EngineError: if one is no ONNX file, or has something that is not allowed.
    """
    manifest = engine.manifest
    networks: tuple[Manifest | Member, ...] = (manifest, *(manifest.members or ()))
    wanted = {
        member_tensor(n, "network/onnx"): (3, member.network.input_size, member.backbone.outputs)
        for n, member in enumerate(networks)
    }
    if manifest.refinement is not None:
        channels = 4 if manifest.refinement.picture else 1
        wanted[REFINEMENT] = (channels, manifest.network.input_size, ("map",))
    found = {}
    for name, (channels, size, outputs) in wanted.items():
        try:
            found[name] = check_network(
                engine.tensors[name], input_shape=(1, channels, *size), outputs=outputs
            )
        except GateError as error:
            raise EngineError(
                f"[Runtime] {engine.path}: its network '{name}' is refused: {error}. Nothing has "
                "run it. Do not use a file from unknown hands; docs/engine-format.md lists what a "
                "network may have."
            ) from error
    return found
