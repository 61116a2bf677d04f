// CUDA form of pyad/cosine_distance_map.h: the same sums in the same order, the same bits.
//
// Four launches: distances of all pairs; tiles of the maps (up-sampling and smoothing of all
// levels, in shared memory); statistics of their rows; statistics of the maps. Nothing is allocated
// and nothing waits.
//
// Limits: kMaxPairs pairs and as many levels, 2^31 - 1 blocks a launch, sides below 2^31. The
// device cannot refuse: a location whose squared norms are not finite has the distance NaN, which
// spreads into the map, and a NaN in a map makes its maximum and its mean NaN.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "pyad/cosine_distance_map.h"

namespace pyad::cuda {

constexpr int kMaxPairs = 16;

// The tables of both axes lie in device memory (pyad/cuda/banded.h).
struct DeviceMapLevel {
    const Banded *rows, *columns;
    const void *row_tables, *column_tables;
};

// Bytes of the workspace for N pictures, `locations` a picture summed over the pairs, H rows a map.
size_t cosine_distance_map_workspace(int64_t N, int64_t locations, int64_t H);

// The features that `pairs` point to, workspace (16-byte aligned), maps (N, H, W), maxima (N)
// and means (N) lie in device memory. stream: a cudaStream_t.
// Throws std::invalid_argument above the limits, std::runtime_error if the launch fails.
void cosine_distance_map(const std::vector<FeaturePair>& pairs,
                         const std::vector<DeviceMapLevel>& levels, int64_t N, void* workspace,
                         float* maps, float* maxima, float* means, void* stream);

}  // namespace pyad::cuda
