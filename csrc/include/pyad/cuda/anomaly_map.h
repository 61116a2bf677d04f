// CUDA form of pyad/anomaly_map.h: the same sums in the same order, the same bits.
//
// One launch computes each tile of a map from the scores: the columns' sums go to shared memory
// only, and each tile leaves its maximum in the workspace. A second launch takes the maximum of
// each map. Nothing is allocated and nothing waits.
//
// Limits: as on the CPU, N * tiles of 16 x 32 below 2^31, and every side below 2^31. The device
// cannot refuse values that are not finite: they spread into the map, and a NaN in a map makes its
// maximum NaN, so that a caller who looks at the maxima cannot miss one.
#pragma once

#include <cstddef>
#include <cstdint>

#include "pyad/banded.h"

namespace pyad::cuda {

// Bytes of the workspace for N maps of (H, W).
size_t anomaly_map_workspace(int64_t N, int64_t H, int64_t W);

// scores (N, h, w), maps (N, H, W), maxima (N) and workspace lie in device memory, as do the
// tables of the two axes (pyad/cuda/banded.h). stream: a cudaStream_t.
// Throws std::invalid_argument above the limits, std::runtime_error if the launch fails.
void anomaly_map(const float* scores, int64_t N, const Banded& rows, const void* row_tables,
                 const Banded& columns, const void* column_tables, void* workspace, float* maps,
                 float* maxima, void* stream);

}  // namespace pyad::cuda
