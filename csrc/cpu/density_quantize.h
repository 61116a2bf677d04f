// Rows of float32 to 16-bit fixed point; compiled with each instruction set, without calls.
#pragma once

#include <cstdint>

#include "pyad/density_arithmetic.h"

namespace pyad {
namespace {

constexpr int kDensityChunk = 64;  // components quantised together

// What brings a row to length kDensityUnit; see unit_factors.
struct RowScale {
    float lift, inverse;
};

// scales (N) of n >= 1 rows; of rows that do not exist it is zero. The squared length is a float64
// sum in eight lanes, the l-th over d = l mod 8, added in halves: finite if the row is. Returns
// whether all are.
template <int N>
inline bool measure_rows(const float* rows, int64_t n, int64_t D, RowScale* scales) {
    static_assert(N % 2 == 0, "rows are measured two by two");
    bool finite = true;
    for (int64_t j = 0; j < N; j += 2) {
        // Side by side, to hide the latency of the sums.
        const float* a = rows + (j < n ? j : n - 1) * D;
        const float* b = rows + (j + 1 < n ? j + 1 : n - 1) * D;
        double left[8] = {}, right[8] = {};
        int64_t d = 0;
        for (; d + 8 <= D; d += 8) {
#pragma GCC unroll 8
            for (int l = 0; l < 8; ++l) {
                const double x = a[d + l];
                left[l] += x * x;
            }
#pragma GCC unroll 8
            for (int l = 0; l < 8; ++l) {
                const double x = b[d + l];
                right[l] += x * x;
            }
        }
        for (int l = 0; d + l < D; ++l) {
            const double x = a[d + l], y = b[d + l];
            left[l] += x * x;
            right[l] += y * y;
        }
        for (int half = 4; half >= 1; half /= 2)
            for (int l = 0; l < half; ++l) {
                left[l] += left[l + half];
                right[l] += right[l + half];
            }
        for (int64_t i = j; i < j + 2; ++i) {
            const double length = __builtin_sqrt(i == j ? left[0] : right[0]);
            finite = finite && length - length == 0.0;
            unit_factors(i < n ? length : 0.0, &scales[i].lift, &scales[i].inverse);
        }
    }
    return finite;
}

// v (64): components d to d + 63 of row j of n, zeros where there are none.
inline void quantize_chunk(const float* rows, int64_t n, int64_t j, int64_t D, int64_t d,
                           const RowScale& scale, int16_t* v) {
    const float* x = rows + j * D + d;
    if (j < n && d + kDensityChunk <= D) {
        for (int i = 0; i < kDensityChunk; ++i)
            v[i] = static_cast<int16_t>(quantized(x[i], scale.lift, scale.inverse));
        return;
    }
    const int64_t count = j < n ? D - d : 0;
    for (int i = 0; i < kDensityChunk; ++i)
        v[i] = i < count ? static_cast<int16_t>(quantized(x[i], scale.lift, scale.inverse)) : 0;
}

}  // namespace
}  // namespace pyad
