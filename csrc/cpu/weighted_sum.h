// The inner loops of the linear kernels, one form per instruction set.
//
// Every element starts from zero (or from `out`) and is summed in the order of the weights, with
// separate multiplications and additions: all forms give the same bits.
#pragma once

#include <cstdint>

namespace pyad {

constexpr int64_t kCell = 32;  // dims handled together: two cache lines of a descriptor

struct LinearKernels {
    // out[i] (= or +=) sum over t < count of weights[t] * source[offsets[t] + i], for i < n.
    void (*weighted_sum)(const float* source, const int64_t* offsets, const float* weights,
                         int64_t count, int64_t n, bool accumulate, float* out);

    // Interpolates a row of cells: for x < n and l < 32,
    // out[x * stride + l] = sum over t < count[x] of weights[x * taps + t] * cells[start[x] +
    // t][l].
    void (*blend_cells)(const float* cells, const int32_t* start, const int32_t* count,
                        const float* weights, int64_t taps, int64_t n, int64_t stride, float* out);
};

extern const LinearKernels linear_portable;
#ifdef PYAD_X86_LEVELS
extern const LinearKernels linear_avx2;
extern const LinearKernels linear_avx512;
#endif

// The kernels of the level in use.
const LinearKernels& linear_kernels();

}  // namespace pyad
