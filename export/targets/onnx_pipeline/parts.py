"""What the stages of a graph hand to each other."""

from __future__ import annotations

from dataclasses import dataclass

from pyad_edge.export.targets.onnx_pipeline.faults import Faults
from pyad_edge.export.targets.onnx_pipeline.graph import GraphBuilder
from pyad_edge.geometry import FramePlan

__all__ = ["NetworkOutputs", "Scored"]


@dataclass(frozen=True, eq=False)
class NetworkOutputs:
    """What a network says about N pictures, for the head behind it.

    Attributes:
        graph: that all of this is part of.
        picture: the network's input, (N, 3, H, W) float32.
        values: names of the network's outputs.
        shapes: of these, for one picture.
        size: (H, W) of the map: the network's input.
        sigma: of the map's Gaussian, in pixels of it.
        plan: what of the frame counts; None: everything.
        faults: conditions that a head adds to.
    """

    graph: GraphBuilder
    picture: str
    values: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    size: tuple[int, int]
    sigma: float
    plan: FramePlan | None
    faults: Faults


@dataclass(frozen=True)
class Scored:
    """Names of picture scores (N,) and anomaly maps (N, H, W), both float32."""

    image: str
    maps: str
