// The tile and the canonical distance, written once over a vector type V and compiled for each
// instruction set by screen_<level>.cpp. No inline function of another header may be called here:
// compiled with AVX-512, it could be the copy that the linker keeps for everybody.
#pragma once

#include "screen.h"

namespace pyad {
namespace {

template <typename V, int MR>
void tile_of(const float* group, const float* panel, int64_t D, const float* norms,
             const float* thresholds, uint32_t* hits, float* bounds) {
    constexpr int W = V::width;
    constexpr int step = 2 * W;  // two vectors of rows at a time
    static_assert(kPanel % step == 0, "a panel holds whole steps");
    for (int r = 0; r < MR; ++r) hits[r] = 0;
    for (int column = 0; column < kPanel; column += step) {
        typename V::type left[MR], right[MR];
#pragma GCC unroll 16
        for (int r = 0; r < MR; ++r) left[r] = right[r] = V::zero();
        const float* a = group;
        const float* b = panel + column;
        for (int64_t d = 0; d < D; ++d, a += MR, b += kPanel) {
            const typename V::type b0 = V::load(b), b1 = V::load(b + W);
#pragma GCC unroll 16
            for (int r = 0; r < MR; ++r) {
                const typename V::type q = V::broadcast(a[r]);
                left[r] = V::multiply_add(q, b0, left[r]);
                right[r] = V::multiply_add(q, b1, right[r]);
            }
        }
        const typename V::type n0 = V::load(norms + column), n1 = V::load(norms + column + W);
        const typename V::type minus_two = V::broadcast(-2.0f);
#pragma GCC unroll 16
        for (int r = 0; r < MR; ++r) {
            const typename V::type bar = V::broadcast(thresholds[r]);
            const typename V::type t0 = V::multiply_add(left[r], minus_two, n0);
            const typename V::type t1 = V::multiply_add(right[r], minus_two, n1);
            const uint32_t mask = V::less_equal(t0, bar) | (V::less_equal(t1, bar) << W);
            if (mask) {
                hits[r] |= mask << column;
                V::store(bounds + r * kPanel + column, t0);
                V::store(bounds + r * kPanel + column + W, t1);
            }
        }
    }
}

// The canonical distance; see nearest_neighbors.h. The sixteen sums are 16 / W vectors.
template <typename V>
float canonical_of(const float* a, const float* b, int64_t D) {
    constexpr int W = V::width;
    constexpr int parts = 16 / W;
    typename V::type sums[parts];
    for (int i = 0; i < parts; ++i) sums[i] = V::zero();
    int64_t d = 0;
    for (; d + 16 <= D; d += 16) {
#pragma GCC unroll 4
        for (int i = 0; i < parts; ++i) {
            const typename V::type difference =
                V::subtract(V::load(a + d + i * W), V::load(b + d + i * W));
            sums[i] = V::add(sums[i], V::multiply(difference, difference));
        }
    }
    float lanes[16];
    for (int i = 0; i < parts; ++i) V::store(lanes + i * W, sums[i]);
    for (int l = 0; d < D; ++d, ++l) {
        const float difference = a[d] - b[d];
        const float square = difference * difference;
        lanes[l] = lanes[l] + square;
    }
    for (int half = 8; half >= 1; half /= 2)
        for (int l = 0; l < half; ++l) lanes[l] = lanes[l] + lanes[l + half];
    return lanes[0];
}

}  // namespace
}  // namespace pyad
