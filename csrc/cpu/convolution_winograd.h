// Transforms of Winograd's F(4x4, 3x3), over a vector type V; see convolution_tile.h.
//
// Points 0, 1, -1, 2, -2 and infinity; A, B and G as in Lavin and Gray, "Fast algorithms for
// convolutional neural networks" (2015), section 4.3.
#pragma once

#include "convolution_tile.h"

namespace pyad {
namespace {

template <typename V>
inline void enter_line(const typename V::type (&d)[6], typename V::type (&out)[6]) {
    using T = typename V::type;
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

template <typename V>
inline void leave_line(const typename V::type (&m)[6], typename V::type (&out)[4]) {
    using T = typename V::type;
    const T sum1 = V::add(m[1], m[2]), difference1 = V::subtract(m[1], m[2]);
    const T sum2 = V::add(m[3], m[4]), difference2 = V::subtract(m[3], m[4]);
    out[0] = V::add(V::add(m[0], sum1), sum2);
    out[1] = V::multiply_add(V::broadcast(2.0f), difference2, difference1);
    out[2] = V::multiply_add(V::broadcast(4.0f), sum2, sum1);
    out[3] = V::add(V::multiply_add(V::broadcast(8.0f), difference2, difference1), m[5]);
}

template <typename V>
void enter_tile_of(const float* in, int64_t row, float* out, int64_t stride) {
    constexpr int W = V::width;
    typename V::type columns[6][6], line[6], result[6];
    for (int lane = 0; lane < kBlock; lane += W) {
#pragma GCC unroll 6
        for (int x = 0; x < 6; ++x) {
#pragma GCC unroll 6
            for (int y = 0; y < 6; ++y) line[y] = V::load(in + y * row + x * kBlock + lane);
            enter_line<V>(line, result);
#pragma GCC unroll 6
            for (int y = 0; y < 6; ++y) columns[y][x] = result[y];
        }
#pragma GCC unroll 6
        for (int y = 0; y < 6; ++y) {
            enter_line<V>(columns[y], result);
#pragma GCC unroll 6
            for (int x = 0; x < 6; ++x) V::store(out + (y * 6 + x) * stride + lane, result[x]);
        }
    }
}

template <typename V>
void leave_tile_of(const float* sums, int64_t stride, int64_t height, int64_t width,
                   const Epilogue& e) {
    constexpr int W = V::width;
    typename V::type columns[4][6], line[6], result[4];
    for (int lane = 0; lane < kBlock; lane += W) {
#pragma GCC unroll 6
        for (int x = 0; x < 6; ++x) {
#pragma GCC unroll 6
            for (int y = 0; y < 6; ++y) line[y] = V::load(sums + (y * 6 + x) * stride + lane);
            leave_line<V>(line, result);
#pragma GCC unroll 4
            for (int y = 0; y < 4; ++y) columns[y][x] = result[y];
        }
#pragma GCC unroll 4
        for (int y = 0; y < 4; ++y) {
            if (y >= height) break;
            leave_line<V>(columns[y], result);
            if (width == kTile) {
#pragma GCC unroll 4
                for (int x = 0; x < 4; ++x) finish<V>(result[x], e, lane, x, y);
            } else {
                for (int x = 0; x < width; ++x) finish<V>(result[x], e, lane, x, y);
            }
        }
    }
}

}  // namespace
}  // namespace pyad
