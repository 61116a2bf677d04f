// The inner loops of preprocess, written once over a vector type V and compiled for each
// instruction set by resize_<level>.cpp. No inline function of another header may be called here:
// one compiled with AVX-512 could be the copy that the linker keeps for everybody.
#pragma once

#include "resize.h"

namespace pyad {
namespace {

// K vectors of W sums stay in registers over all taps.
template <typename V, int K>
inline void sum_run(const uint8_t* const* rows, const float* weights, int64_t count, int64_t i,
                    float* sum) {
    constexpr int W = V::width;
    typename V::type sums[K];
#pragma GCC unroll 8
    for (int k = 0; k < K; ++k) sums[k] = V::zero();
    for (int64_t t = 0; t < count; ++t) {
        const typename V::type weight = V::broadcast(weights[t]);
#pragma GCC unroll 8
        for (int k = 0; k < K; ++k)
            sums[k] = V::add(sums[k], V::multiply(weight, V::from_bytes(rows[t] + i + k * W)));
    }
#pragma GCC unroll 8
    for (int k = 0; k < K; ++k) V::store(sum + i + k * W, sums[k]);
}

template <typename V>
void sum_rows(const uint8_t* const* rows, const float* weights, int64_t count, int64_t n,
              float* sum) {
    constexpr int W = V::width;
    int64_t i = 0;
    for (; i + 8 * W <= n; i += 8 * W) sum_run<V, 8>(rows, weights, count, i, sum);
    for (; i + W <= n; i += W) sum_run<V, 1>(rows, weights, count, i, sum);
    for (; i < n; ++i) {
        sum[i] = 0.0f;
        for (int64_t t = 0; t < count; ++t)
            sum[i] = sum[i] + weights[t] * static_cast<float>(static_cast<int>(rows[t][i]));
    }
}

// W lanes of C channels: their chains of additions hide each other's latency.
template <typename V, int C>
void sum_channels(const float* strip, const int32_t* start, int64_t first, const int32_t* count,
                  const float* all_weights, int64_t taps, int64_t n, const float* scale,
                  const float* offset, float* out) {
    constexpr int W = V::width, K = kStrip / W;
    for (int64_t x = 0; x < n; ++x) {
        const float* source = strip + (start[x] - first) * C * kStrip;
        const float* weights = all_weights + x * taps;
        typename V::type sums[C][K];
#pragma GCC unroll 4
        for (int c = 0; c < C; ++c)
#pragma GCC unroll 4
            for (int k = 0; k < K; ++k) sums[c][k] = V::zero();
        for (int64_t t = 0; t < count[x]; ++t, source += C * kStrip) {
            const typename V::type weight = V::broadcast(weights[t]);
#pragma GCC unroll 4
            for (int c = 0; c < C; ++c)
#pragma GCC unroll 4
                for (int k = 0; k < K; ++k)
                    sums[c][k] = V::add(sums[c][k],
                                        V::multiply(weight, V::load(source + c * kStrip + k * W)));
        }
#pragma GCC unroll 4
        for (int c = 0; c < C; ++c)
#pragma GCC unroll 4
            for (int k = 0; k < K; ++k) {
                const typename V::type scaled = V::multiply(sums[c][k], V::broadcast(scale[c]));
                V::store(out + (c * n + x) * kStrip + k * W,
                         V::add(scaled, V::broadcast(offset[c])));
            }
    }
}

template <typename V>
void sum_columns(const float* strip, int64_t C, const int32_t* start, int64_t first,
                 const int32_t* count, const float* weights, int64_t taps, int64_t n,
                 const float* scale, const float* offset, float* out) {
    const auto sum = C == 1 ? sum_channels<V, 1> : sum_channels<V, 3>;
    sum(strip, start, first, count, weights, taps, n, scale, offset, out);
}

// The bytes of 64 pixels are first laid out by channel, a loop that compilers make shuffles of.
template <typename V>
void normalize(const uint8_t* row, int64_t C, int64_t n, const float* scale, const float* offset,
               float* const* out) {
    constexpr int W = V::width, kPixels = 64;
    uint8_t apart[3][kPixels];
    for (int64_t x = 0; x < n; x += kPixels) {
        const int64_t width = n - x < kPixels ? n - x : kPixels;
        const uint8_t* pixels = row + C * x;
        if (C == 3 && width == kPixels) {
            for (int j = 0; j < kPixels; ++j)
                for (int c = 0; c < 3; ++c) apart[c][j] = pixels[3 * j + c];
        } else if (C == 3) {
            for (int64_t j = 0; j < width; ++j)
                for (int c = 0; c < 3; ++c) apart[c][j] = pixels[3 * j + c];
        }
        for (int c = 0; c < 3; ++c) {
            const uint8_t* bytes = C == 3 ? apart[c] : pixels;
            const typename V::type scales = V::broadcast(scale[c]), by = V::broadcast(offset[c]);
            float* to = out[c] + x;
            int64_t i = 0;
            for (; i + W <= width; i += W)
                V::store(to + i, V::add(V::multiply(V::from_bytes(bytes + i), scales), by));
            for (; i < width; ++i)
                to[i] = static_cast<float>(static_cast<int>(bytes[i])) * scale[c] + offset[c];
        }
    }
}

template <typename V>
constexpr ResizeKernels resize_form() {
    return {sum_rows<V>, sum_columns<V>, normalize<V>};
}

}  // namespace
}  // namespace pyad
