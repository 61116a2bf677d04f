// The inner loops of preprocess, one form per instruction set. Sums run in the order of the taps,
// with separate multiplications and additions: all forms give the same bits.
#pragma once

#include <cstdint>

namespace pyad {

constexpr int64_t kStrip = 16;

struct ResizeKernels {
    // sum[i] = sum over t < count of weights[t] * rows[t][i], for i < n.
    void (*sum_rows)(const uint8_t* const* rows, const float* weights, int64_t count, int64_t n,
                     float* sum);
    // Of strips: kStrip rows side by side, row (columns of the picture, C, kStrip), for x < n,
    // c < C and every lane: out[c, x] = scale[c] * (sum over t < count[x] of weights[x * taps + t]
    // * strip[start[x] - first + t, c]) + offset[c]; out (C, n, kStrip).
    void (*sum_columns)(const float* strip, int64_t C, const int32_t* start, int64_t first,
                        const int32_t* count, const float* weights, int64_t taps, int64_t n,
                        const float* scale, const float* offset, float* out);
    // Where nothing is resized: out[c][x] = scale[c] * row[C x + c] + offset[c] for x < n and three
    // c; with C = 1 all of row[x]. nullptr where a table is as fast.
    void (*normalize)(const uint8_t* row, int64_t C, int64_t n, const float* scale,
                      const float* offset, float* const* out);
};

extern const ResizeKernels resize_portable;
#ifdef PYAD_X86_LEVELS
extern const ResizeKernels resize_avx2;
extern const ResizeKernels resize_avx512;
#endif

// The kernels of the level in use.
const ResizeKernels& resize_kernels();

}  // namespace pyad
