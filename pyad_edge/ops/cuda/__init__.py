"""CUDA forms of the kernels. Importing this package never needs a driver."""

from pyad_edge.ops.cuda.arrays import DeviceArray
from pyad_edge.ops.cuda.device import device_count, why_unavailable
from pyad_edge.ops.cuda.nearest_neighbors import nearest_neighbors

__all__ = ["DeviceArray", "device_count", "nearest_neighbors", "why_unavailable"]
