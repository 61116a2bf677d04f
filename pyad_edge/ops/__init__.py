"""The kernels: exact, threaded, NumPy arrays in and out.

Results are the same bits on every instruction set, except those of `convolution`.
"""

from pyad_edge.ops.anomaly_map import MapPlan, anomaly_map
from pyad_edge.ops.convolution import convolution
from pyad_edge.ops.correlation_divergence import correlation_divergence
from pyad_edge.ops.cosine_distance_map import cosine_distance_map
from pyad_edge.ops.density_weights import density_weights
from pyad_edge.ops.greedy_coreset import (
    greedy_coreset,
    project,
    random_projection,
    start_distances,
)
from pyad_edge.ops.nearest_neighbors import MemoryBank, nearest_neighbors
from pyad_edge.ops.patch_aggregation import AggregationPlan, output_dim, patch_aggregation
from pyad_edge.ops.preprocess import PreprocessPlan, preprocess
from pyad_edge.ops.rerank import rerank
from pyad_edge.ops.threads import (
    available_cpu_levels,
    cpu_level,
    has_bf16,
    num_threads,
    set_cpu_level,
    set_num_threads,
)

__all__ = [
    "AggregationPlan",
    "MapPlan",
    "MemoryBank",
    "PreprocessPlan",
    "anomaly_map",
    "available_cpu_levels",
    "convolution",
    "correlation_divergence",
    "cosine_distance_map",
    "cpu_level",
    "density_weights",
    "greedy_coreset",
    "has_bf16",
    "nearest_neighbors",
    "num_threads",
    "output_dim",
    "patch_aggregation",
    "preprocess",
    "project",
    "random_projection",
    "rerank",
    "set_cpu_level",
    "set_num_threads",
    "start_distances",
]
