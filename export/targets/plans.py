"""Plans of the networks: ``--to tensorrt``, built where they run, and ``--to tensorrt-rtx``.

Search, head and map stay with pyad_edge, which gives the same scores around any backend.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pyad_edge.backends._common import require_package
from pyad_edge.backends.tensorrt import TensorRtBackend
from pyad_edge.backends.tensorrt_plan import build_plan
from pyad_edge.backends.typed_onnx import lowered
from pyad_edge.calibration import threshold_for
from pyad_edge.engine import Engine
from pyad_edge.errors import BackendError
from pyad_edge.export.targets.built import Built
from pyad_edge.export.targets.forms import NetworkForm
from pyad_edge.export.targets.networks import Network, networks_of, quantised, with_networks
from pyad_edge.export.targets.settings import ExportSettings
from pyad_edge.opening import build_pipeline
from pyad_edge.ops.cuda.device import why_unavailable

__all__ = ["build_plans", "trtexec_line", "written_network"]

_PACKAGES = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}


def build_plans(engine: Engine, settings: ExportSettings, *, threads: int | None) -> Built:
    """The networks as ONNX files of the types to compute in, and their plans.

    A plan of ``tensorrt`` is that of :class:`pyad_edge.Runtime` with this backend: kept in the
    cache, with the timings of kernels; int8 is a network of its own. ``tensorrt-rtx`` builds on any
    machine and compiles where the plan is loaded.

    Args:
        engine: verified.
        settings: with one of these targets.
        threads: of ONNX Runtime, where it stands in for the device.

    Raises:
        BackendError: if the package, or for ``tensorrt`` the device, is missing, or the network
            cannot be rewritten or built.
    """
    int8 = settings.precision == "int8"
    typed = "fp32" if int8 else settings.precision  # an int8 network says its types itself
    source = engine
    if int8:
        source = quantised(engine, calibration=settings.calibration, symmetric=True)
    device = why_unavailable() is None
    networks = list(networks_of(source))
    files: dict[str, bytes] = {}
    lines: dict[str, str] = {}
    for network in networks:
        stem = "network" if len(networks) == 1 else f"network{network.index}"
        files[f"{stem}.onnx"] = written_network(network, typed)
        if settings.target == "tensorrt":
            lines[stem] = trtexec_line(files[f"{stem}.onnx"], stem, network, settings)
        if settings.build:
            files[f"{stem}.plan"] = _plan(
                source, network, files[f"{stem}.onnx"], typed, settings, lines.get(stem)
            )
    if lines:
        files["trtexec.sh"] = "".join(f"{line}\n" for line in lines.values()).encode()
    runs = device and settings.build
    stand_in = {
        network.tensor: np.frombuffer(written, np.uint8)
        for network, written in zip(
            networks, (c for n, c in files.items() if n.endswith(".onnx")), strict=True
        )
    }
    policy = engine.manifest.threshold.false_reject
    limit = threshold_for(engine.tensors["calibration/scores"], policy).value

    def form() -> NetworkForm:
        if runs:
            pipeline = build_pipeline(source, backend=settings.target, precision=typed)
        else:
            pipeline = build_pipeline(with_networks(engine, stand_in), threads=threads)
        return NetworkForm(pipeline, limit)

    return Built(
        files=files,
        folder=True,
        frame_size=None,
        open=form if runs or settings.precision != "bf16" else None,
        not_run=None if runs else _why_not(settings),
        notes=tuple(lines.values()),
        about={"trtexec": list(lines.values())} if lines else {},
    )


def written_network(network: Network, precision: str) -> bytes:
    """A network's ONNX file in the types to compute in, with the outputs that are wanted alone.

    Its input and outputs are float32. ``trtexec`` builds from it what pyad_edge builds.
    """
    import onnx

    proto = onnx.load_model_from_string(lowered(network.model, precision))
    kept = [value for value in proto.graph.output if value.name in network.outputs]
    copies = [onnx.ValueInfoProto.FromString(value.SerializeToString()) for value in kept]
    del proto.graph.output[:]
    proto.graph.output.extend(copies)
    return bytes(proto.SerializeToString())


def trtexec_line(model: bytes, stem: str, network: Network, settings: ExportSettings) -> str:
    """The command that builds the same plan with TensorRT's own tool."""
    import onnx

    graph = onnx.load_model_from_string(model).graph
    weights = {tensor.name for tensor in graph.initializer}
    (source,) = (value for value in graph.input if value.name not in weights)
    sides = (settings.batch or 1, 3, *network.input_size)
    parts = [f"trtexec --onnx={stem}.onnx --saveEngine={stem}.plan --stronglyTyped --noTF32"]
    if any(not side.dim_value for side in source.type.tensor_type.shape.dim):
        # trtexec refuses shapes for a network of one fixed size.
        parts.append(f"--shapes={source.name}:{'x'.join(map(str, sides))}")
    return " ".join([*parts, "--timingCacheFile=timing.cache"])


def _plan(
    source: Engine,
    network: Network,
    written: bytes,
    typed: str,
    settings: ExportSettings,
    line: str | None,
) -> bytes:
    batch = settings.batch or 1
    trt = _package(settings.target, line)
    if settings.target == "tensorrt-rtx":
        shape = (batch, 3, *network.input_size)
        return build_plan(trt, written, op="export", outputs=network.outputs, shape=shape)
    if reason := why_unavailable():
        raise BackendError(
            f"[export] a plan of tensorrt is built on the device that will run it. {reason} "
            f"{_elsewhere(line)}"
        )
    key = source.file_sha256 if network.index == 0 else f"{source.file_sha256}-{network.index}"
    backend = TensorRtBackend(
        network.model,
        outputs=network.outputs,
        input_size=network.input_size,
        precision=typed,
        cache_key=key,  # that of the runtime: a plan is built once for both
    )
    return backend.plan(batch)


def _package(target: str, line: str | None) -> Any:
    try:
        return require_package(_PACKAGES[target], extra=target, op="export")
    except BackendError as error:
        raise BackendError(f"{error} {_elsewhere(line)}".rstrip()) from error


def _elsewhere(line: str | None) -> str:
    if line is None:
        return ""
    return (
        "Run this command on that device; or write the network alone with --no-build, copy it "
        f"there and build it with: {line}"
    )


def _why_not(settings: ExportSettings) -> str:
    stands_in: Mapping[bool, str] = {
        True: "What was compared is the network that the plan is built from, in ONNX Runtime.",
        False: "Nothing was compared: ONNX Runtime's CPU has no bf16.",
    }
    state = "built, not run: no CUDA device" if settings.build else "not built (--no-build)"
    return f"{state}. {stands_in[settings.precision != 'bf16']}"
