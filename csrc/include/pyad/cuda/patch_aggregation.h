// CUDA form of pyad/patch_aggregation.h: the same sums in the same order, the same bits.
//
// One launch. A block makes 32 neighbouring dims of a tile of patches: for each level, its stencils
// at the level's own resolution go to shared memory (lanes along the map, as the features lie), are
// up-sampled from there and added to registers (lanes along the dims, as the descriptors lie), and
// each descriptor is written once. Feature maps are read once, but for the borders of tiles. No
// workspace; nothing is allocated and nothing waits.
//
// Limits: as on the CPU, at most 8 levels, C_l * h_l * w_l below 2^31, and N * tiles * blocks of
// dims below 2^31. The device cannot refuse NaN: it spreads to the patches that see it.
#pragma once

#include <cstddef>
#include <vector>

#include "pyad/banded.h"
#include "pyad/patch_aggregation.h"

namespace pyad::cuda {

// The plan's tables in device memory: its owner packs them on the host, copies them once to memory
// that is at least 16-byte aligned, and passes the address to every call.
size_t packed_bytes(const AggregationPlan& plan);
void pack(const AggregationPlan& plan, unsigned char* out);

// As pyad::FeatureMap, with the features and the tables of the up-sampling in device memory.
struct DeviceFeatureMap {
    FeatureMap map;
    const void* row_tables;  // null where map.rows is
    const void* column_tables;
};

// out (N, h, w, D) in device memory; stream: a cudaStream_t.
// Throws std::invalid_argument above the limits, std::runtime_error if the launch fails.
void patch_aggregation(const AggregationPlan& plan, const void* tables,
                       const std::vector<DeviceFeatureMap>& features, int64_t N, float* out,
                       void* stream);

}  // namespace pyad::cuda
