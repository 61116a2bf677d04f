// Quantised rows in pairs of 16-bit components and their dot products, written once over a vector
// type V for every level that multiplies such pairs.
//   group  (pairs, MR) int32      panel  (pairs, 32) int32, each int32 two neighbouring components
#pragma once

#include "density_absorb.h"
#include "density_quantize.h"

namespace pyad {
namespace {

// Rows (N, 64) of 16-bit components to columns (pairs, N) of pairs. V may know a faster way for
// sixteen rows and pairs.
template <typename V, int N>
inline void transpose_pairs(const int16_t* v, int64_t pairs, int16_t* out) {
    if (V::transposes && N % 16 == 0 && pairs % 16 == 0) {
        for (int64_t j = 0; j < N; j += 16)
            for (int64_t p = 0; p < pairs; p += 16)
                V::transpose(v + j * kDensityChunk + 2 * p, 2 * kDensityChunk,
                             out + 2 * (p * N + j), 4 * N);
        return;
    }
    for (int64_t p = 0; p < pairs; ++p)
        for (int64_t j = 0; j < N; ++j)
            __builtin_memcpy(out + 2 * (p * N + j), v + j * kDensityChunk + 2 * p, 4);
}

template <typename V, int N>
bool pack_pairs(const float* rows, int64_t n, int64_t D, int16_t* out) {
    RowScale scales[N];
    const bool finite = measure_rows<N>(rows, n, D, scales);
    alignas(64) int16_t v[N * kDensityChunk];
    for (int64_t d = 0; d < D; d += kDensityChunk) {
        for (int64_t j = 0; j < N; ++j)
            quantize_chunk(rows, n, j, D, d, scales[j], v + j * kDensityChunk);
        const int64_t left = (D - d + 1) / 2;
        transpose_pairs<V, N>(v, left < kDensityChunk / 2 ? left : kDensityChunk / 2, out + d * N);
    }
    return finite;
}

// dots (MR, 32). Not inlined: GCC 12 would keep the sums in memory.
template <typename V, int MR>
__attribute__((noinline)) void dot_products(const int16_t* group, const int16_t* panel,
                                            int64_t pairs, int32_t* dots) {
    using I = typename V::ints;
    constexpr int W = V::width;
    constexpr int N = kDensityPanel;
    for (int column = 0; column < N; column += 2 * W) {
        I left[MR], right[MR];
#pragma GCC unroll 16
        for (int r = 0; r < MR; ++r) left[r] = right[r] = I{};
        const int16_t* a = group;
        const int16_t* b = panel + 2 * column;
        for (int64_t p = 0; p < pairs; ++p, a += 2 * MR, b += 2 * N) {
            const I b0 = V::template load<I>(b), b1 = V::template load<I>(b + 2 * W);
#pragma GCC unroll 16
            for (int r = 0; r < MR; ++r) {
                const I x = V::broadcast_pair(a + 2 * r);
                left[r] = V::dot(left[r], x, b0);
                right[r] = V::dot(right[r], x, b1);
            }
        }
#pragma GCC unroll 16
        for (int r = 0; r < MR; ++r) {
            __builtin_memcpy(dots + r * N + column, &left[r], sizeof(I));
            __builtin_memcpy(dots + r * N + column + W, &right[r], sizeof(I));
        }
    }
}

template <typename V, int MR>
void density_sum_of(const int16_t* groups, int64_t count, const int16_t* panels, int64_t rows,
                    int64_t D, const DensityExponent& exponent, int32_t* references, float* lanes) {
    alignas(64) int32_t dots[MR * kDensityPanel];
    const int64_t pairs = (D + 1) / 2;
    for (int64_t row = 0; row < rows; row += kDensityPanel)
        for (int64_t g = 0; g < count; ++g) {
            dot_products<V, MR>(groups + g * MR * pairs * 2, panels + row * pairs * 2, pairs, dots);
            for (int64_t r = 0; r < MR; ++r)
                absorb<V, 2>(dots + r * kDensityPanel, rows - row, exponent, row == 0,
                             references + g * MR + r, lanes + (g * MR + r) * kDensityRun);
        }
}

template <typename V, int MR>
constexpr DensityKernels density_of() {
    return {MR, 2, 8, pack_pairs<V, MR>, pack_pairs<V, kDensityPanel>, density_sum_of<V, MR>};
}

}  // namespace
}  // namespace pyad
