// The inner loops of cosine_distance_map, one form per instruction set.
//
// Eight neighbouring channels make a group: their products are added as a tree (l and l + 4, then
// l + 2, then l + 1), channels that are missing from the last group count as zeros, and the groups
// are added in order, starting from zero. No operation is fused, so all forms and both layouts give
// the same bits.
#pragma once

#include <cstdint>

namespace pyad {

constexpr int64_t kGroup = 8;     // channels
constexpr int64_t kRowSums = 16;  // running sums along a row of the map

// Of neighbouring locations: <a, b>, <a, a> and <b, b>.
struct ChannelSums {
    float *ab, *aa, *bb;
};

struct CosineKernels {
    // n neighbouring locations of C planes: channel c of location i is a[c * plane + i].
    void (*planes)(const float* a, const float* b, int64_t C, int64_t plane, int64_t n,
                   const ChannelSums& sums);
    // n neighbouring locations with channels last: channel c of location i is a[i * C + c].
    void (*pixels)(const float* a, const float* b, int64_t C, int64_t n, const ChannelSums& sums);
    // The largest of n values, and their sum as sixteen sums and a tree.
    void (*row_statistics)(const float* row, int64_t n, float* peak, float* sum);
};

extern const CosineKernels cosine_portable;
#ifdef PYAD_X86_LEVELS
// Serves the AVX-512 levels too: the channel sums wait for memory, and wider vectors gained
// nothing.
extern const CosineKernels cosine_avx2;
#endif

// The kernels of the level in use.
const CosineKernels& cosine_kernels();

}  // namespace pyad
