// A tile of rows of correlation_divergence, written once over W floats and compiled for each
// instruction set by correlation_<level>.cpp. No inline function of another header may be called
// here unless it has a copy in each file (vector_math.h): one compiled with AVX-512 could be the
// copy that the linker keeps for everybody.
#pragma once

#include <limits>

#include "correlation.h"
#include "pyad/correlation_divergence.h"
#include "pyad/vector_math.h"

namespace pyad {
namespace {

template <int W>
struct CorrelationLanes {
    typedef float F __attribute__((vector_size(4 * W)));
    static constexpr int parts = 16 / W;  // vectors that hold the sixteen partial sums

    static F load(const float* p) {
        F v;
        __builtin_memcpy(&v, p, sizeof(v));
        return v;
    }
    static void store(float* p, F v) { __builtin_memcpy(p, &v, sizeof(v)); }

    // Lane l with l + 8, l + 4, l + 2, l + 1.
    template <typename Combine>
    static float halved(const F* values, Combine combine) {
        typedef float Four __attribute__((vector_size(16)));
        float lanes[16];
        Four quarters[4];
        for (int i = 0; i < parts; ++i) store(lanes + i * W, values[i]);
        __builtin_memcpy(quarters, lanes, sizeof(lanes));
        const Four four =
            combine(combine(quarters[0], quarters[2]), combine(quarters[1], quarters[3]));
        return combine(combine(four[0], four[2]), combine(four[1], four[3]));
    }
    static float total(const F* sums) {
        return halved(sums, [](auto a, auto b) { return a + b; });
    }
    static float maximum(const F* values) {
        return halved(values, [](auto a, auto b) { return a > b ? a : b; });
    }
};

// logits[r * padded + j] = q_r.k_j; -inf where there is no key j.
template <int W, int MR>
void correlation_logits(const CorrelationKeys& keys, const float* group, float* logits) {
    using V = CorrelationLanes<W>;
    using F = typename V::F;
    constexpr float none = -std::numeric_limits<float>::infinity();
    const int64_t L = keys.h * keys.w, d = keys.d;
    const int64_t padded = (L + kKeyPanel - 1) / kKeyPanel * kKeyPanel;
    for (int64_t j = 0; j < padded; j += 2 * W) {
        const float* b = keys.panels + j / kKeyPanel * d * kKeyPanel + j % kKeyPanel;
        const float* a = group;
        F left[MR], right[MR];
#pragma GCC unroll 16
        for (int r = 0; r < MR; ++r) left[r] = right[r] = F{};
        for (int64_t k = 0; k < d; ++k, a += MR, b += kKeyPanel) {
            const F b0 = V::load(b), b1 = V::load(b + W);
#pragma GCC unroll 16
            for (int r = 0; r < MR; ++r) {
                left[r] = left[r] + a[r] * b0;
                right[r] = right[r] + a[r] * b1;
            }
        }
#pragma GCC unroll 16
        for (int r = 0; r < MR; ++r) {
            V::store(logits + r * padded + j, left[r]);
            V::store(logits + r * padded + j + W, right[r]);
        }
    }
    for (int r = 0; r < MR; ++r)
        for (int64_t j = L; j < padded; ++j) logits[r * padded + j] = none;
}

// exp of the logits below their maximum, in place; returns their sum.
template <int W>
float correlation_exponentials(float* logits, int64_t padded, float factor) {
    using V = CorrelationLanes<W>;
    using F = typename V::F;
    F best[V::parts], sums[V::parts];
    for (int i = 0; i < V::parts; ++i) best[i] = V::load(logits + i * W);
    for (int64_t j = 16; j < padded; j += 16)
#pragma GCC unroll 4
        for (int i = 0; i < V::parts; ++i) {
            const F x = V::load(logits + j + i * W);
            best[i] = x > best[i] ? x : best[i];
        }
    const float maximum = V::maximum(best);

    for (int i = 0; i < V::parts; ++i) sums[i] = F{};
    for (int64_t j = 0; j < padded; j += 16)
#pragma GCC unroll 4
        for (int i = 0; i < V::parts; ++i) {
            const F e = exp2_of((V::load(logits + j + i * W) - maximum) * factor);
            V::store(logits + j + i * W, e);
            sums[i] = sums[i] + e;
        }
    return V::total(sums);
}

// out[x] = the Gaussian around `centre`, summing to 1 over x < n; zeros up to a multiple of 16.
template <int W>
void correlation_axis(int64_t n, int64_t centre, float sigma, float* out) {
    using V = CorrelationLanes<W>;
    using F = typename V::F;
    constexpr float half_log2e = -0x1.715476p-1f;  // -log2(e) / 2
    F sums[V::parts];
    for (int i = 0; i < V::parts; ++i) sums[i] = F{};
    float distances[16];
    for (int64_t x = 0; x < n; x += 16) {
        for (int64_t l = 0; l < 16; ++l) distances[l] = static_cast<float>(x + l - centre);
        for (int i = 0; i < V::parts; ++i) {
            const F u = V::load(distances + i * W) / sigma;
            V::store(out + x + i * W, exp2_of((u * u) * half_log2e));
        }
        for (int64_t l = n - x; l < 16; ++l) out[x + l] = 0.0f;
        for (int i = 0; i < V::parts; ++i) sums[i] = sums[i] + V::load(out + x + i * W);
    }
    const float sum = V::total(sums);
    for (int64_t x = 0; x < n; x += W) V::store(out + x, V::load(out + x) / sum);
}

// target[y * w + x] = rows[y] * columns[x]; zeros beyond.
template <int W>
void correlation_target(const CorrelationKeys& keys, const float* columns, const float* rows,
                        int64_t padded, float* target) {
    using V = CorrelationLanes<W>;
    for (int64_t y = 0; y < keys.h; ++y)  // what hangs over into row y + 1 is overwritten by it
        for (int64_t x = 0; x < keys.w; x += W)
            V::store(target + y * keys.w + x, rows[y] * V::load(columns + x));
    for (int64_t j = keys.h * keys.w; j < padded; ++j) target[j] = 0.0f;
}

// Sum over j of (S - T) log((S + eps) / (T + eps)).
template <int W>
float correlation_sum(const float* exponentials, const float* target, int64_t padded, float sum) {
    using V = CorrelationLanes<W>;
    using F = typename V::F;
    const float inverse = 1.0f / sum;
    F sums[V::parts];
    for (int i = 0; i < V::parts; ++i) sums[i] = F{};
    for (int64_t j = 0; j < padded; j += 16)
#pragma GCC unroll 4
        for (int i = 0; i < V::parts; ++i) {
            const F s = V::load(exponentials + j + i * W) * inverse;
            const F t = V::load(target + j + i * W);
            sums[i] = sums[i] + (s - t) * log_ratio_of(s + kCorrelationEps, t + kCorrelationEps);
        }
    return V::total(sums);
}

template <int W, int MR>
void correlation_divergence_of(const CorrelationKeys& keys, const float* queries,
                               const float* sigma_x, const float* sigma_y, int64_t first, int64_t n,
                               float* scratch, float* out) {
    const int64_t d = keys.d, L = keys.h * keys.w;
    const int64_t padded = (L + kKeyPanel - 1) / kKeyPanel * kKeyPanel;
    float* logits = scratch;
    float* target = logits + MR * padded;
    float* columns = target + padded + 16;
    float* rows = columns + (keys.w + 15) / 16 * 16;
    float* group = rows + (keys.h + 15) / 16 * 16;
    for (int64_t k = 0; k < d; ++k)
        for (int64_t r = 0; r < MR; ++r) group[k * MR + r] = r < n ? queries[r * d + k] : 0.0f;
    correlation_logits<W, MR>(keys, group, logits);
    for (int64_t r = 0; r < n; ++r) {
        float* row = logits + r * padded;
        const float sum = correlation_exponentials<W>(row, padded, keys.factor);
        correlation_axis<W>(keys.w, (first + r) % keys.w, sigma_x[r], columns);
        correlation_axis<W>(keys.h, (first + r) / keys.w, sigma_y[r], rows);
        correlation_target<W>(keys, columns, rows, padded, target);
        out[r] = correlation_sum<W>(row, target, padded, sum);
    }
}

template <int W, int MR>
constexpr CorrelationKernels correlation_of() {
    return {MR, correlation_divergence_of<W, MR>};
}

}  // namespace
}  // namespace pyad
