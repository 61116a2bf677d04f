// The tile and the canonical distance, written once over a vector type V and compiled for each
// instruction set by screen_<level>.cpp. No inline function of another header may be called here:
// compiled with AVX-512, it could be the copy that the linker keeps for everybody.
#pragma once

#include "screen.h"

namespace pyad {
namespace {

// Products q.b of MR queries and two vectors of rows from `column` on, added up in registers, to
// sums (MR, 2 W). Through memory, so that compilers keep the loop's sums in registers.
template <typename V, int MR>
inline void products_of(const float* group, const float* panel, int64_t D, int column,
                        float* products) {
    constexpr int W = V::width;
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
#pragma GCC unroll 16
    for (int r = 0; r < MR; ++r) {
        V::store(products + 2 * r * W, left[r]);
        V::store(products + (2 * r + 1) * W, right[r]);
    }
}

template <typename V, int MR>
void multiply_of(const float* group, const float* panel, int64_t D, float* sums) {
    constexpr int W = V::width;
    float products[MR * 2 * W];
    for (int column = 0; column < kPanel; column += 2 * W) {
        products_of<V, MR>(group, panel, D, column, products);
        for (int r = 0; r < MR; ++r)
            for (int i = 0; i < 2; ++i) {
                float* sum = sums + r * kPanel + column + i * W;
                V::store(sum, V::add(V::load(sum), V::load(products + (2 * r + i) * W)));
            }
    }
}

template <typename V, int MR>
void tile_of(const float* group, const float* panel, int64_t D, const float* norms,
             const float* thresholds, uint32_t* hits, float* bounds) {
    constexpr int W = V::width;
    static_assert(kPanel % (2 * W) == 0, "a panel holds whole steps");
    const typename V::type minus_two = V::broadcast(-2.0f);
    float products[MR * 2 * W];
    for (int r = 0; r < MR; ++r) hits[r] = 0;
    for (int column = 0; column < kPanel; column += 2 * W) {
        products_of<V, MR>(group, panel, D, column, products);
        const typename V::type n0 = V::load(norms + column), n1 = V::load(norms + column + W);
        for (int r = 0; r < MR; ++r) {
            const typename V::type bar = V::broadcast(thresholds[r]);
            const float* product = products + 2 * r * W;
            const typename V::type t0 = V::multiply_add(V::load(product), minus_two, n0);
            const typename V::type t1 = V::multiply_add(V::load(product + W), minus_two, n1);
            const uint32_t mask = V::less_equal(t0, bar) | (V::less_equal(t1, bar) << W);
            if (mask) {
                hits[r] |= mask << column;
                V::store(bounds + r * kPanel + column, t0);
                V::store(bounds + r * kPanel + column + W, t1);
            }
        }
    }
}

template <typename V, int MR>
void estimate_of(const float* group, const float* panel, int64_t D, const float* norms,
                 const Levels& levels, uint8_t* estimates, int64_t step) {
    constexpr int W = V::width;
    const typename V::type minus_two = V::broadcast(-2.0f);
    float products[MR * 2 * W];
    for (int column = 0; column < kPanel; column += 2 * W) {
        products_of<V, MR>(group, panel, D, column, products);
        const typename V::type n0 = V::load(norms + column), n1 = V::load(norms + column + W);
        for (int r = 0; r < MR; ++r) {
            const typename V::type slope = V::broadcast(levels.slopes[r]);
            const typename V::type offset = V::broadcast(levels.offsets[r]);
            const float* product = products + 2 * r * W;
            const typename V::type t0 = V::multiply_add(V::load(product), minus_two, n0);
            const typename V::type t1 = V::multiply_add(V::load(product + W), minus_two, n1);
            uint8_t* out = estimates + r * step + column;
            V::store_bytes(out, V::multiply_add(t0, slope, offset));
            V::store_bytes(out + W, V::multiply_add(t1, slope, offset));
        }
    }
}

// The place of the least of 32 numbers, the first of equal ones; 0 if there is a NaN.
template <typename V>
int least_of(const float* bounds) {
    float lanes[V::width], least = bounds[0];
    typename V::type smallest = V::load(bounds);
#pragma GCC unroll 8
    for (int i = V::width; i < kPanel; i += V::width)
        smallest = V::smaller(V::load(bounds + i), smallest);
    V::store(lanes, smallest);
    for (const float lane : lanes) least = lane < least ? lane : least;
    uint32_t equal = 0;
#pragma GCC unroll 8
    for (int i = 0; i < kPanel; i += V::width)
        equal |= V::less_equal(V::load(bounds + i), V::broadcast(least)) << i;
    return equal ? __builtin_ctz(equal) : 0;
}

// Second pass: the least of n bytes, n a multiple of 32.
template <typename V>
uint8_t lowest_of(const uint8_t* bytes, int64_t n) {
    uint8_t least[kPanel];
    for (int64_t j = 0; j < kPanel; ++j) least[j] = 255;
    for (int64_t i = 0; i < n; i += kPanel)
        for (int64_t j = 0; j < kPanel; ++j)
            least[j] = bytes[i + j] < least[j] ? bytes[i + j] : least[j];
    uint8_t lowest = 255;
    for (const uint8_t value : least) lowest = value < lowest ? value : lowest;
    return lowest;
}

// Second pass: the places of bytes in (above, highest], ascending; returns how many.
template <typename V>
int64_t collect_of(const uint8_t* bytes, int64_t n, int above, int highest, int32_t* places) {
    int64_t count = 0;
    for (int64_t i = 0; i < n; i += kPanel)
        for (uint32_t open = V::within(bytes + i, static_cast<uint8_t>(highest)); open;
             open &= open - 1) {
            const int64_t place = i + __builtin_ctz(open);
            places[count] = static_cast<int32_t>(place);
            count += bytes[place] > above;
        }
    return count;
}

// The canonical distance; see nearest_neighbors.h. The sixteen sums are 16 / W vectors; `count`
// rows are evaluated side by side.
template <typename V, int count>
inline void canonical_rows(const float* a, const float* const* b, int64_t D, float* distances) {
    constexpr int W = V::width;
    constexpr int parts = 16 / W;
    typename V::type sums[count][parts];
#pragma GCC unroll 4
    for (int c = 0; c < count; ++c)
#pragma GCC unroll 4
        for (int i = 0; i < parts; ++i) sums[c][i] = V::zero();
    int64_t d = 0;
    for (; d + 16 <= D; d += 16) {
#pragma GCC unroll 4
        for (int i = 0; i < parts; ++i) {
            const typename V::type query = V::load(a + d + i * W);
#pragma GCC unroll 4
            for (int c = 0; c < count; ++c) {
                const typename V::type difference = V::subtract(query, V::load(b[c] + d + i * W));
                sums[c][i] = V::add(sums[c][i], V::multiply(difference, difference));
            }
        }
    }
    float lanes[count][16];
#pragma GCC unroll 4
    for (int c = 0; c < count; ++c)
#pragma GCC unroll 4
        for (int i = 0; i < parts; ++i) V::store(lanes[c] + i * W, sums[c][i]);
    for (int c = 0; c < count; ++c) {
        for (int64_t e = d, l = 0; e < D; ++e, ++l) {
            const float difference = a[e] - b[c][e];
            const float square = difference * difference;
            lanes[c][l] = lanes[c][l] + square;
        }
        for (int half = 8; half >= 1; half /= 2)
            for (int l = 0; l < half; ++l) lanes[c][l] = lanes[c][l] + lanes[c][l + half];
        distances[c] = lanes[c][0];
    }
}

template <typename V>
float canonical_of(const float* a, const float* b, int64_t D) {
    float distance;
    canonical_rows<V, 1>(a, &b, D, &distance);
    return distance;
}

template <typename V>
void canonical_batch_of(const float* a, const float* const* b, int64_t D, float* distances) {
    canonical_rows<V, kBatch>(a, b, D, distances);
}

template <typename V, int MR>
constexpr ScreenKernels screen_of(const QuantizedKernels* int8, const QuantizedKernels* bfloat16) {
    return {MR,
            tile_of<V, MR>,
            estimate_of<V, MR>,
            multiply_of<V, MR>,
            canonical_of<V>,
            canonical_batch_of<V>,
            least_of<V>,
            lowest_of<V>,
            collect_of<V>,
            int8,
            bfloat16};
}

}  // namespace
}  // namespace pyad
