// The inner loops, written once over W floats and compiled for each instruction set by
// weighted_sum_<level>.cpp. No inline function of another header may be called here: one compiled
// with AVX-512 could be the copy that the linker keeps for everybody.
#pragma once

#include "weighted_sum.h"

namespace pyad {
namespace {

template <int W>
struct Lanes {
    typedef float type __attribute__((vector_size(4 * W)));
    static type load(const float* p) {
        type v;
        __builtin_memcpy(&v, p, sizeof(v));
        return v;
    }
    static void store(float* p, type v) { __builtin_memcpy(p, &v, sizeof(v)); }
};

// K vectors at once: enough chains of additions to hide their latency.
template <int W, int K>
inline void sum_run(const float* source, const int64_t* offsets, const float* weights,
                    int64_t count, bool accumulate, float* out) {
    typename Lanes<W>::type sums[K] = {};
    if (accumulate) {
#pragma GCC unroll 8
        for (int k = 0; k < K; ++k) sums[k] = Lanes<W>::load(out + k * W);
    }
    for (int64_t t = 0; t < count; ++t) {
        const float* from = source + offsets[t];
        const float weight = weights[t];
#pragma GCC unroll 8
        for (int k = 0; k < K; ++k) sums[k] = sums[k] + weight * Lanes<W>::load(from + k * W);
    }
#pragma GCC unroll 8
    for (int k = 0; k < K; ++k) Lanes<W>::store(out + k * W, sums[k]);
}

template <int W>
void weighted_sum_of(const float* source, const int64_t* offsets, const float* weights,
                     int64_t count, int64_t n, bool accumulate, float* out) {
    int64_t i = 0;
    for (; i + 8 * W <= n; i += 8 * W)
        sum_run<W, 8>(source + i, offsets, weights, count, accumulate, out + i);
    for (; i + W <= n; i += W)
        sum_run<W, 1>(source + i, offsets, weights, count, accumulate, out + i);
    for (; i < n; ++i) {
        float sum = accumulate ? out[i] : 0.0f;
        for (int64_t t = 0; t < count; ++t) sum = sum + weights[t] * source[offsets[t] + i];
        out[i] = sum;
    }
}

template <int W>
void blend_cells_of(const float* cells, const int32_t* start, const int32_t* count,
                    const float* weights, int64_t taps, int64_t n, int64_t stride, float* out) {
    constexpr int K = kCell / W;
    for (int64_t x = 0; x < n; ++x) {
        typename Lanes<W>::type sums[K] = {};
        const float* from = cells + start[x] * kCell;
        for (int64_t t = 0; t < count[x]; ++t) {
            const float weight = weights[x * taps + t];
#pragma GCC unroll 8
            for (int k = 0; k < K; ++k)
                sums[k] = sums[k] + weight * Lanes<W>::load(from + t * kCell + k * W);
        }
#pragma GCC unroll 8
        for (int k = 0; k < K; ++k) Lanes<W>::store(out + x * stride + k * W, sums[k]);
    }
}

template <int W>
constexpr LinearKernels linear_of() {
    return {weighted_sum_of<W>, blend_cells_of<W>};
}

}  // namespace
}  // namespace pyad
