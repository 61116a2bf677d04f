"""A whole engine as one ONNX graph: frames in; score, anomaly map and verdict out."""

from pyad_edge.export.targets.onnx_pipeline.build import build_pipeline
from pyad_edge.export.targets.onnx_pipeline.settings import PipelineSettings

__all__ = ["PipelineSettings", "build_pipeline"]
