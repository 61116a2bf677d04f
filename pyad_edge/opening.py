"""From a verified engine to the pipeline that runs it here."""

from __future__ import annotations

from typing import Any, Literal

from pyad_edge.backends import Backend
from pyad_edge.backends.registry import open_backend
from pyad_edge.engine import Engine
from pyad_edge.engine_manifest import (
    CorrelationHead,
    Manifest,
    Member,
    MemoryBankHead,
    ScoreMapHead,
    member_tensor,
)
from pyad_edge.engine_networks import check_networks
from pyad_edge.ensemble_pipeline import EnsemblePipeline
from pyad_edge.feeder import DeclaredInput
from pyad_edge.heads.approximate_index import ApproximateBank
from pyad_edge.heads.correlation import reference_keys
from pyad_edge.heads.memory_bank import MemoryBankHead as BankHead
from pyad_edge.input_choice import MaskSource, choose_input, pipeline_of, plain_pipeline
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
        EngineError: if a network has something that is not allowed, or faiss cannot read the index.
        SettingError: if the input asked for would change what scores mean, or the backend is
            unknown or has no such precision, device or threads.
    """
    check_networks(engine)  # before any native parser sees one of them
    declared = choose_input(
        engine,
        color_order=color_order,
        pixel_format=pixel_format,
        size_policy=size_policy,
        mask=mask,
    )
    manifest = engine.manifest
    networks: tuple[Manifest | Member, ...] = (manifest, *(manifest.members or ()))
    members = []
    for index, member in enumerate(networks):
        opened = open_backend(
            backend,
            bytes(engine.tensors[member_tensor(index, "network/onnx")]),
            outputs=member.backbone.outputs,
            input_size=member.network.input_size,
            precision=precision,
            device=device,
            threads=threads,
            spinning=spinning,
            cache_key=engine.file_sha256 if index == 0 else f"{engine.file_sha256}-{index}",
            coarse_outputs=isinstance(manifest.head, MemoryBankHead),
        )
        members.append(_member(engine, index, member, opened, declared))
    pipeline = members[0]
    if manifest.fusion is not None:
        pipeline = EnsemblePipeline(members, manifest.fusion)
    if manifest.refinement is None:
        return pipeline
    return RefinedPipeline(
        pipeline,
        bytes(engine.tensors["refinement/onnx"]),
        manifest.refinement,
        threads=threads,
        spinning=spinning,
    )


def _member(
    engine: Engine,
    index: int,
    member: Manifest | Member,
    opened: Backend,
    declared: DeclaredInput | None,
) -> Pipeline:
    """The pipeline of one network; an engine that is no ensemble has one."""
    parts: dict[str, Any] = {
        "preprocessing": member.preprocessing,
        "backend": opened,
        "sigma": member.anomaly_map.sigma,
    }
    on_device = getattr(opened, "device", "cpu") == "cuda"  # the whole frame stays there
    if not isinstance(member.head, MemoryBankHead):
        parts["head"] = member.head
        if isinstance(member.head, CorrelationHead):
            parts["keys"] = reference_keys(member.head, engine.tensors)
        if declared is None and isinstance(member.head, ScoreMapHead) and on_device:
            from pyad_edge.device_score_map import DeviceScoreMapPipeline

            return DeviceScoreMapPipeline(**parts)
        return pipeline_of(engine, parts, declared) or plain_pipeline(parts)
    bank = engine.tensors[member_tensor(index, "bank/features")]
    approximate = (
        ApproximateBank(bank, engine.tensors["index/faiss"], engine.manifest.index)
        if engine.manifest.index is not None
        else None
    )
    parts["head"] = BankHead(bank, member.head, approximate=approximate)
    sources = engine.tensors[member_tensor(index, "bank/sources")]
    placed = {**parts, "positions": sources[:, 1:]}
    pipeline = pipeline_of(engine, placed, declared, grid=member.network.grid)
    if pipeline is not None:
        return pipeline
    if on_device:
        from pyad_edge.device_pipeline import DevicePipeline

        return DevicePipeline(**parts)
    return Pipeline(**placed)
