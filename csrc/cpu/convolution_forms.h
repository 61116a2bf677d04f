// Pools, additions, and the table of kernels, over a vector type V; see convolution_tile.h.
#pragma once

#include "convolution_winograd.h"

namespace pyad {
namespace {

template <typename V>
void maximum_of(const WindowRow& windows, float* out) {
    constexpr int W = V::width;
    for (int64_t i = 0; i < windows.count; ++i)
        for (int lane = 0; lane < kBlock; lane += W) {
            const float* first = windows.first + i * windows.step + lane;
            typename V::type best = V::load(first);
            for (int64_t y = 0; y < windows.height; ++y)
                for (int64_t x = 0; x < windows.width; ++x)
                    best = V::larger_or_nan(best, V::load(first + y * windows.row + x * kBlock));
            V::store(out + i * kBlock + lane, best);
        }
}

template <typename V>
void average_of(const WindowRow& windows, float scale, float* out) {
    constexpr int W = V::width;
    for (int64_t i = 0; i < windows.count; ++i)
        for (int lane = 0; lane < kBlock; lane += W) {
            const float* first = windows.first + i * windows.step + lane;
            typename V::type sum = V::zero();
            for (int64_t y = 0; y < windows.height; ++y)
                for (int64_t x = 0; x < windows.width; ++x)
                    sum = V::add(sum, V::load(first + y * windows.row + x * kBlock));
            V::store(out + i * kBlock + lane, V::multiply(sum, V::broadcast(scale)));
        }
}

template <typename V>
void add_of(const float* a, const float* b, int64_t n, float low, float high, float* out) {
    constexpr int W = V::width;
    for (int64_t i = 0; i < n * kBlock; i += W) {
        const typename V::type v = b ? V::add(V::load(a + i), V::load(b + i)) : V::load(a + i);
        V::store(out + i, V::smaller(V::broadcast(high), V::larger(V::broadcast(low), v)));
    }
}

template <typename V, int R, int P>
constexpr ConvolutionKernels convolution_of() {
    using F = F4<V>;
    return {P * V::width / kBlock,
            F::packed,
            F::tile,
            multiply_of<V, R, P>,
            convolve_of<V, R, P>,
            nullptr,
            enter_tile_of<V, F>,
            leave_tile_of<V, F>,
            maximum_of<V>,
            average_of<V>,
            add_of<V>};
}

}  // namespace
}  // namespace pyad
