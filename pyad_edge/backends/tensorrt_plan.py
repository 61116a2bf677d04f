"""Building plans: what TensorRT and TensorRT for RTX have in common. No device is touched here.

Networks are strongly typed: the precision is that of the ONNX file (`typed_onnx`), TF32 is off, so
fp32 means float32 in both.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from pyad_edge.backends.cache import load, store
from pyad_edge.errors import BackendError

__all__ = ["build_plan", "collector"]

_TIMING = "timing"


def collector(trt: Any) -> Any:
    """A logger that keeps errors and prints nothing; its ``errors`` is a list of sentences."""

    class Collector(trt.ILogger):  # type: ignore[misc]  # the package is loaded at run time
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                self.errors.append(message.strip().splitlines()[0][:300])

    return Collector()


def build_plan(
    trt: Any,
    model: bytes,
    *,
    op: str,
    outputs: Sequence[str],
    shape: tuple[int, int, int, int],
    timing_key: str | None = None,
) -> bytes:
    """Parse an ONNX file and build its plan for one input shape.

    Args:
        trt: the package ``tensorrt`` or ``tensorrt_rtx``.
        model: of the types to compute in, input and outputs float32.
        op: name of the backend, for errors.
        outputs: names wanted; nothing else is computed.
        shape: (N, 3, H, W).
        timing_key: under which timings of kernels are kept between builds; none: they are not.

    Returns:
        The serialized plan.

    Raises:
        BackendError: if the file cannot be parsed, has no such output, or cannot be built.
        ResourceError: if the timings cannot be kept.
    """
    logger = collector(trt)
    builder = trt.Builder(logger)
    typed = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    network = builder.create_network(0 if typed is None else 1 << int(typed))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(model):
        why = [parser.get_error(n).desc() for n in range(parser.num_errors)] or logger.errors
        raise BackendError(
            f"[{op}] cannot parse a network of {len(model)} bytes: {'; '.join(why[:2])[:300]}. Use "
            "the backend onnxruntime, or export the backbone with other operators."
        )
    offered = [network.get_output(n) for n in range(network.num_outputs)]
    missing = [name for name in outputs if name not in [tensor.name for tensor in offered]]
    if missing:
        raise BackendError(
            f"[{op}] the network has no output {', '.join(map(repr, missing))}; it offers "
            f"{', '.join(tensor.name for tensor in offered)}."
        )
    for tensor in offered:
        if tensor.name not in outputs:
            network.unmark_output(tensor)
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)
    profile = builder.create_optimization_profile()
    profile.set_shape(network.get_input(0).name, shape, shape, shape)
    config.add_optimization_profile(profile)
    timings = None
    if timing_key is not None:
        known = load(timing_key, kind=_TIMING)
        timings = config.create_timing_cache(known.content if known else b"")
        config.set_timing_cache(timings, ignore_mismatch=False)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise BackendError(
            f"[{op}] cannot build a plan for a batch of shape {shape}: "
            f"{(logger.errors or ['no reason given'])[-1]}. Use the backend onnxruntime or torch."
        )
    if timings is not None and timing_key is not None:
        with suppress(AttributeError):  # of versions that keep none
            store(timing_key, bytes(timings.serialize()), kind=_TIMING, about={})
    return bytes(plan)
