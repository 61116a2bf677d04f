"""From a verified engine to the pipeline that runs it here."""

from __future__ import annotations

from typing import Any, Literal

from pyad_edge.backends.registry import open_backend
from pyad_edge.cosine_pipeline import CosinePipeline
from pyad_edge.engine import Engine
from pyad_edge.engine_manifest import CosineHead
from pyad_edge.errors import EngineError
from pyad_edge.feeder import DeclaredInput
from pyad_edge.heads.approximate_index import ApproximateBank
from pyad_edge.heads.memory_bank import MemoryBankHead
from pyad_edge.input_choice import MaskSource, choose_input, pipeline_of
from pyad_edge.pipeline import Pipeline
from pyad_edge.refined_pipeline import RefinedPipeline

__all__ = ["build_pipeline"]


def build_pipeline(
    engine: Engine,
    *,
    backend: str = "onnxruntime",
    precision: str | None = None,
    device: str | None = None,
    threads: int | None = None,
    spinning: bool = True,
    color_order: Literal["rgb", "bgr"] | None = None,
    pixel_format: str | None = None,
    size_policy: str | None = None,
    mask: MaskSource | None = None,
) -> Pipeline:
    """The pipeline of a verified engine, on the backend that was asked for and no other.

    Args:
        engine: its network, memory bank and settings.
        backend, precision, device, threads, spinning: see :class:`pyad_edge.Runtime`.
        color_order, pixel_format, size_policy, mask: the same.

    Raises:
        BackendError: if the network does not run here, or the engine's index needs faiss.
        DataError: if the mask's file cannot be read.
        EngineError: if faiss cannot read the index.
        SettingError: if the input asked for would change what scores mean, or the backend is
            unknown or has no such precision, device or threads.
    """
    declared = choose_input(
        engine,
        color_order=color_order,
        pixel_format=pixel_format,
        size_policy=size_policy,
        mask=mask,
    )
    manifest = engine.manifest
    for name, what in (("members", "an ensemble"),):
        if getattr(manifest, name) is not None:  # never a part of it alone, as if that were all
            raise EngineError(
                f"[Runtime] {engine.path} is {what}, which this version of pyad_edge reads but "
                "does not run. Update it: pip install --upgrade pyad_edge"
            )
    opened = open_backend(
        backend,
        bytes(engine.tensors["network/onnx"]),
        outputs=manifest.backbone.outputs,
        input_size=manifest.network.input_size,
        precision=precision,
        device=device,
        threads=threads,
        spinning=spinning,
        cache_key=engine.file_sha256,
    )
    parts: dict[str, Any] = {
        "preprocessing": manifest.preprocessing,
        "backend": opened,
        "sigma": manifest.anomaly_map.sigma,
    }
    pipeline: Pipeline
    if isinstance(manifest.head, CosineHead):
        parts["head"] = manifest.head
        pipeline = pipeline_of(engine, parts, declared) or CosinePipeline(**parts)
    else:
        pipeline = _with_bank(engine, parts, declared)
    if manifest.refinement is None:
        return pipeline
    return RefinedPipeline(
        pipeline,
        bytes(engine.tensors["refinement/onnx"]),
        manifest.refinement,
        threads=threads,
        spinning=spinning,
    )


def _with_bank(engine: Engine, parts: dict[str, Any], declared: DeclaredInput | None) -> Pipeline:
    """The pipeline of a memory bank."""
    manifest, bank = engine.manifest, engine.tensors["bank/features"]
    approximate = (
        ApproximateBank(bank, engine.tensors["index/faiss"], manifest.index)
        if manifest.index is not None
        else None
    )
    parts["head"] = MemoryBankHead(bank, manifest.memory_bank, approximate=approximate)
    placed = {**parts, "positions": engine.tensors["bank/sources"][:, 1:]}
    if (pipeline := pipeline_of(engine, placed, declared)) is not None:
        return pipeline
    if getattr(parts["backend"], "device", "cpu") == "cuda":  # the whole frame stays there
        from pyad_edge.device_pipeline import DevicePipeline

        return DevicePipeline(**parts)
    return Pipeline(**placed)
