"""CUDA forms of the kernels. Importing this package never needs a driver."""

from pyad_edge.ops.cuda.anomaly_map import anomaly_map, anomaly_map_workspace
from pyad_edge.ops.cuda.arrays import DeviceArray
from pyad_edge.ops.cuda.correlation_divergence import correlation_divergence
from pyad_edge.ops.cuda.cosine_distance_map import (
    cosine_distance_map,
    cosine_distance_map_workspace,
)
from pyad_edge.ops.cuda.density_weights import density_weights, density_weights_workspace
from pyad_edge.ops.cuda.device import device_count, why_unavailable
from pyad_edge.ops.cuda.greedy_coreset import greedy_coreset
from pyad_edge.ops.cuda.nearest_neighbors import MemoryBank, nearest_neighbors
from pyad_edge.ops.cuda.patch_aggregation import patch_aggregation
from pyad_edge.ops.cuda.picture_scores import picture_scores
from pyad_edge.ops.cuda.preprocess import preprocess

__all__ = [
    "DeviceArray",
    "MemoryBank",
    "anomaly_map",
    "anomaly_map_workspace",
    "correlation_divergence",
    "cosine_distance_map",
    "cosine_distance_map_workspace",
    "density_weights",
    "density_weights_workspace",
    "device_count",
    "greedy_coreset",
    "nearest_neighbors",
    "patch_aggregation",
    "picture_scores",
    "preprocess",
    "why_unavailable",
]
