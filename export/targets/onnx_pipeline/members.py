"""The networks of an engine, each with its head, and what is made of them."""

from __future__ import annotations

from dataclasses import dataclass

from pyad_edge.engine import Engine
from pyad_edge.engine_heads import Head
from pyad_edge.engine_manifest import (
    CorrelationHead,
    CosineHead,
    Manifest,
    Member,
    MemoryBankHead,
    member_tensor,
)
from pyad_edge.export.targets.onnx_pipeline.correlation_head import correlation_scores
from pyad_edge.export.targets.onnx_pipeline.cosine import cosine_scores
from pyad_edge.export.targets.onnx_pipeline.ensemble import fused
from pyad_edge.export.targets.onnx_pipeline.faults import Faults
from pyad_edge.export.targets.onnx_pipeline.frames import FrameInput, frame_planes
from pyad_edge.export.targets.onnx_pipeline.graph import GraphBuilder
from pyad_edge.export.targets.onnx_pipeline.memory_bank import bank_scores
from pyad_edge.export.targets.onnx_pipeline.network import InnerNetwork, common_opset
from pyad_edge.export.targets.onnx_pipeline.parts import NetworkOutputs, Scored
from pyad_edge.export.targets.onnx_pipeline.preprocess import network_input
from pyad_edge.export.targets.onnx_pipeline.refinement import refined
from pyad_edge.export.targets.onnx_pipeline.requirements import (
    networks_of,
    refinement_of,
    refuse_unsupported,
)
from pyad_edge.export.targets.onnx_pipeline.score_map import score_map_scores
from pyad_edge.export.targets.onnx_pipeline.settings import PipelineSettings
from pyad_edge.feeder import DeclaredInput, Feeder
from pyad_edge.geometry import FramePlan
from pyad_edge.input_choice import choose_input

__all__ = ["Members"]


@dataclass(frozen=True, eq=False)
class Members:
    """An engine taken apart for its graph.

    Attributes:
        engine: verified.
        settings: sizes of the graph.
        frame: the graph's input.
        declared: the engine's own input; None: it declares none.
        networks: of each member.
        refinement: its network; None: the map is the head's.
        opset: of the graph.
    """

    engine: Engine
    settings: PipelineSettings
    frame: FrameInput
    declared: DeclaredInput | None
    networks: tuple[InnerNetwork, ...]
    refinement: InnerNetwork | None
    opset: int

    @classmethod
    def of(cls, engine: Engine, settings: PipelineSettings, size: tuple[int, int]) -> Members:
        """Take an engine apart for frames of (H, W) pixels.

        Raises:
            SettingError: if something of it has no form in a graph of standard operators.
            BackendError: if a network has other operators, or takes another batch.
            DataError: if its region of interest leaves nothing of such frames.
        """
        declared = choose_input(engine)
        refuse_unsupported(engine, settings, size, declared)
        golden = engine.tensors["golden/frames"]
        channels = int(golden.shape[3]) if golden.ndim == 4 else None
        networks = networks_of(engine, settings)
        refinement = refinement_of(engine, settings)
        inside = [*networks, *([refinement] if refinement is not None else [])]
        return cls(
            engine=engine,
            settings=settings,
            frame=FrameInput(size, str(golden.dtype), channels),
            declared=declared,
            networks=networks,
            refinement=refinement,
            opset=common_opset(settings.opset, inside),
        )

    @property
    def map_size(self) -> tuple[int, int]:
        """(H, W) of the anomaly map."""
        return self.engine.manifest.network.input_size

    def put_into(self, graph: GraphBuilder, frame: str, faults: Faults) -> Scored:
        """Everything from frames to picture scores and maps."""
        manifest = self.engine.manifest
        planes = frame_planes(
            graph,
            frame,
            self.declared,
            color_order=manifest.preprocessing.color_order,
            faults=faults,
        )
        members: tuple[Manifest | Member, ...] = (manifest, *(manifest.members or ()))
        found: list[Scored] = []
        first: NetworkOutputs | None = None
        for index, member in enumerate(members):
            with graph.scope(f"member{index}"):
                outputs = self._outputs(graph, planes, index, member, faults)
                found.append(self._head(outputs, index, member.head))
            first = first or outputs
        scored = found[0]
        if manifest.fusion is not None:
            with graph.scope("ensemble"):
                scored = fused(graph, found, manifest.fusion)
        if first is None or manifest.refinement is None or self.refinement is None:
            return scored
        masked = self.declared is not None and len(self.declared.masks) > 0
        gain = first.plan.gain if masked and first.plan is not None else None
        with graph.scope("refinement"):
            return refined(
                graph,
                scored,
                self.refinement,
                manifest.refinement,
                picture=first.picture,
                size=self.map_size,
                shown=None if gain is None else gain > 0,
                faults=faults,
            )

    def _outputs(
        self,
        graph: GraphBuilder,
        planes: str,
        index: int,
        member: Manifest | Member,
        faults: Faults,
    ) -> NetworkOutputs:
        """A member's network behind the frames."""
        network, names = self.networks[index], member.backbone.outputs
        plan = self._plan(member)
        spec = self.engine.manifest.input
        picture = network_input(
            graph,
            planes,
            member.preprocessing,
            frame_size=self.frame.size,
            plan=plan,
            padding=(spec.padding or 0) if spec is not None else 0,
        )
        size = member.network.input_size
        return NetworkOutputs(
            graph=graph,
            picture=picture,
            values=tuple(network.put_into(graph, picture, names, prefix=f"network{index}")),
            shapes=tuple(network.shapes(names, size)),
            size=size,
            sigma=member.anomaly_map.sigma,
            plan=plan,
            faults=faults,
        )

    def _head(self, outputs: NetworkOutputs, index: int, head: Head) -> Scored:
        tensors = self.engine.tensors
        if isinstance(head, MemoryBankHead):
            bank = tensors[member_tensor(index, "bank/features")]
            return bank_scores(outputs, bank, head, chunk_rows=self.settings.chunk_rows)
        if isinstance(head, CosineHead):
            return cosine_scores(outputs, head)
        if isinstance(head, CorrelationHead):
            return correlation_scores(outputs, head, tensors)
        return score_map_scores(outputs)

    def _plan(self, member: Manifest | Member) -> FramePlan | None:
        """What of a frame counts for a member; None: everything, the frame fills the input."""
        if self.declared is None:
            return None
        feeder = Feeder(
            member.preprocessing,
            self.declared,
            grid=member.network.grid,
            sigma=member.anomaly_map.sigma,
        )
        return feeder.plan(self.frame.size)
