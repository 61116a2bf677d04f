// CUDA form of pyad/correlation_divergence.h: the same sums in the same order, the same bits.
//
// Two launches: 32 rows of one head a block, then the mean over the heads. A block multiplies its
// queries with all keys three times, for the maximum, the sum and the divergence: products are
// cheaper than a logit's way to memory and back, so there is no workspace. The target's w + h
// values a row lie in shared memory. Nothing is allocated and nothing waits.
//
// Limits: those of the CPU form, h + w <= kCorrelationSides, 2^31 - 1 blocks a launch. The device
// cannot refuse: a NaN, an infinity, a sigma of 0 or an overflowing dot product makes its patch
// NaN, and the sign of a sigma is not looked at.
#pragma once

#include "pyad/correlation_divergence.h"

namespace pyad::cuda {

constexpr int64_t kCorrelationSides = 384;  // rows and columns whose values fit in shared memory

// All arrays lie in device memory. stream: a cudaStream_t. Throws std::invalid_argument above the
// limits, std::runtime_error if a launch fails.
void correlation_divergence(const CorrelationShape& shape, const float* queries, const float* keys,
                            const float* sigma_x, const float* sigma_y, float scale,
                            float* per_head, float* divergence, void* stream);

}  // namespace pyad::cuda
