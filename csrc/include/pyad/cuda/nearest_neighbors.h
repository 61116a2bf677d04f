// CUDA form of nearest_neighbors, k = 1: the canonical distance of every pair, evaluated directly.
//
// The plain form: one thread a bank row, one block a query, the same sixteen partial sums in the
// same order as on the CPU, multiplications and additions rounded one by one. Screened forms come
// beside it.
#pragma once

#include <cstdint>

namespace pyad::cuda {

// Host arrays in, host arrays out: queries (Q, D), bank (M, D), distances (Q), indices (Q).
// Throws std::runtime_error if the device fails.
void nearest_neighbors(const float* queries, int64_t Q, const float* bank, int64_t M, int64_t D,
                       float* distances, int64_t* indices);

}  // namespace pyad::cuda
