// Transforms of Winograd's F(4x4, 3x3) and F(2x2, 3x3), over a vector type V; see
// convolution_tile.h.
//
// Points 0, 1, -1, 2, -2 and infinity, or 0, 1, -1 and infinity; A, B and G as in Lavin and Gray,
// "Fast algorithms for convolutional neural networks" (2015), sections 4.1 and 4.3. The small form
// is for factors of bfloat16: the large one makes six times as much of their rounding.
#pragma once

#include "convolution_tile.h"

namespace pyad {
namespace {

template <typename V>
struct F4 {
    using T = typename V::type;
    static constexpr int tile = 4, packed = 1;

    static void enter(const T (&d)[6], T (&out)[6]) {
        const T four = V::broadcast(4.0f), minus_four = V::broadcast(-4.0f);
        const T two = V::broadcast(2.0f), minus_two = V::broadcast(-2.0f);
        const T minus_five = V::broadcast(-5.0f);
        const T even = V::multiply_add(minus_four, d[2], d[4]);
        const T odd = V::multiply_add(minus_four, d[1], d[3]);
        const T even2 = V::subtract(d[4], d[2]), odd2 = V::subtract(d[3], d[1]);
        out[0] = V::multiply_add(four, d[0], V::multiply_add(minus_five, d[2], d[4]));
        out[1] = V::add(even, odd);
        out[2] = V::subtract(even, odd);
        out[3] = V::multiply_add(two, odd2, even2);
        out[4] = V::multiply_add(minus_two, odd2, even2);
        out[5] = V::multiply_add(four, d[1], V::multiply_add(minus_five, d[3], d[5]));
    }

    static void leave(const T (&m)[6], T (&out)[4]) {
        const T sum1 = V::add(m[1], m[2]), difference1 = V::subtract(m[1], m[2]);
        const T sum2 = V::add(m[3], m[4]), difference2 = V::subtract(m[3], m[4]);
        out[0] = V::add(V::add(m[0], sum1), sum2);
        out[1] = V::multiply_add(V::broadcast(2.0f), difference2, difference1);
        out[2] = V::multiply_add(V::broadcast(4.0f), sum2, sum1);
        out[3] = V::add(V::multiply_add(V::broadcast(8.0f), difference2, difference1), m[5]);
    }

    static void store(float* out, T v) { V::store(out, v); }
};

template <typename V>
struct F2 {
    using T = typename V::type;
    static constexpr int tile = 2, packed = 2;

    static void enter(const T (&d)[4], T (&out)[4]) {
        out[0] = V::subtract(d[0], d[2]);
        out[1] = V::add(d[1], d[2]);
        out[2] = V::subtract(d[2], d[1]);
        out[3] = V::subtract(d[1], d[3]);
    }

    static void leave(const T (&m)[4], T (&out)[2]) {
        out[0] = V::add(V::add(m[0], m[1]), m[2]);
        out[1] = V::subtract(V::subtract(m[1], m[2]), m[3]);
    }

    static void store(float* out, T v) { V::store_packed(out, v); }
};

template <typename V, typename F>
void enter_tile_of(const float* in, int64_t row, float* out, int64_t stride) {
    constexpr int W = V::width, n = F::tile + 2;
    typename V::type columns[n][n], line[n], result[n];
    for (int lane = 0; lane < kBlock; lane += W) {
#pragma GCC unroll 6
        for (int x = 0; x < n; ++x) {
#pragma GCC unroll 6
            for (int y = 0; y < n; ++y) line[y] = V::load(in + y * row + x * kBlock + lane);
            F::enter(line, result);
#pragma GCC unroll 6
            for (int y = 0; y < n; ++y) columns[y][x] = result[y];
        }
#pragma GCC unroll 6
        for (int y = 0; y < n; ++y) {
            F::enter(columns[y], result);
#pragma GCC unroll 6
            for (int x = 0; x < n; ++x)
                F::store(out + (y * n + x) * stride + lane / F::packed, result[x]);
        }
    }
}

template <typename V, typename F>
void leave_tile_of(const float* sums, int64_t stride, int64_t height, int64_t width,
                   const Epilogue& e) {
    constexpr int W = V::width, tile = F::tile, n = tile + 2;
    typename V::type columns[tile][n], line[n], result[tile];
    for (int lane = 0; lane < kBlock; lane += W) {
#pragma GCC unroll 6
        for (int x = 0; x < n; ++x) {
#pragma GCC unroll 6
            for (int y = 0; y < n; ++y) line[y] = V::load(sums + (y * n + x) * stride + lane);
            F::leave(line, result);
#pragma GCC unroll 4
            for (int y = 0; y < tile; ++y) columns[y][x] = result[y];
        }
#pragma GCC unroll 4
        for (int y = 0; y < tile; ++y) {
            if (y >= height) break;
            F::leave(columns[y], result);
            if (width == tile) {
#pragma GCC unroll 4
                for (int x = 0; x < tile; ++x) finish<V>(result[x], e, lane, x, y);
            } else {
                for (int x = 0; x < width; ++x) finish<V>(result[x], e, lane, x, y);
            }
        }
    }
}

}  // namespace
}  // namespace pyad
