// CUDA form of pyad/density_weights.h: the same fixed point, the same sums in the same order, the
// same bits.
//
// Three launches: both inputs are brought to fixed point, each component as a high and a low byte;
// tensor cores multiply bytes (four products make one of 16 bits; all of it exact), 64 features
// against one segment of the queue per block, and the exponentials are summed where the products
// stand; the segments are put together. Nothing is allocated and nothing waits.
//
// Limits: as on the CPU. The device cannot refuse values that are not finite: a feature that has
// one gets the weight NaN, and a queue that has one makes all weights NaN.
#pragma once

#include <cstddef>
#include <cstdint>

namespace pyad::cuda {

// Bytes of the workspace.
size_t density_weights_workspace(int64_t q, int64_t Q, int64_t D);

// features (q, D), queue (Q, D), log_weights (q) and workspace lie in device memory, the workspace
// 16-byte aligned. stream: a cudaStream_t.
// Throws std::invalid_argument above the limits, std::runtime_error if a launch fails.
void density_weights(const float* features, int64_t q, const float* queue, int64_t Q, int64_t D,
                     double beta, void* workspace, float* log_weights, void* stream);

}  // namespace pyad::cuda
