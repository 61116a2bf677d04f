// What the screens in few bits share: making int8 vectors, levels, and the test. Written once over
// a vector type V and compiled for each instruction set; see screen_tile.h for the house rule.
#pragma once

#include <cmath>

#include "screen.h"

namespace pyad {
namespace {

constexpr int kLanes = 16;

// z = row - mean for the sixteen components from d on; zero behind the last.
inline void centre(const float* row, const float* mean, int64_t D, int64_t d, float* z) {
    if (d + kLanes <= D) {
        for (int l = 0; l < kLanes; ++l) z[l] = row[d + l] - mean[d + l];
        return;
    }
    for (int l = 0; l < kLanes; ++l) z[l] = d + l < D ? row[d + l] - mean[d + l] : 0.0f;
}

inline float largest_of(const float* row, const float* mean, int64_t D) {
    float lanes[kLanes] = {}, z[kLanes];
    for (int64_t d = 0; d < D; d += kLanes) {
        centre(row, mean, D, d, z);
        for (int l = 0; l < kLanes; ++l) {
            const float size = z[l] < 0.0f ? -z[l] : z[l];
            lanes[l] = lanes[l] > size ? lanes[l] : size;
        }
    }
    float largest = 0.0f;
    for (const float lane : lanes) largest = largest > lane ? largest : lane;
    return largest;
}

inline double root_of_sum(const float* lanes) {
    double sum = 0.0;
    for (int l = 0; l < kLanes; ++l) sum += lanes[l];
    return __builtin_sqrt(sum);
}

// The norm of a residual from sums of squares in float32, 16 lanes of up to 512 terms: each root is
// within 2e-5 of its value. Centring rounds each component by at most one unit; `flushed` covers
// squares that were flushed to zero.
inline double residual_of(const float* residuals, const float* lengths, double flushed) {
    return (root_of_sum(residuals) + 1.2e-7 * root_of_sum(lengths)) * (1.0 + 4e-5) + flushed;
}

inline Quantized quantize_int8(const float* row, const float* mean, int64_t D, int8_t* values) {
    Quantized result;
    result.largest = largest_of(row, mean, D);
    if (!(result.largest < kQuantizedLimit)) return result;
    // Vectors too small for a scale keep v = 0: their residual is then all of them.
    const bool usable = result.largest > 1e-28f;
    const float scale = usable ? result.largest / 127.0f : 0.0f;
    const float inverse = usable ? 127.0f / result.largest : 0.0f;
    constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to a whole number
    float z[kLanes], residuals[kLanes] = {}, lengths[kLanes] = {};
    int32_t sums[kLanes] = {}, squares[kLanes] = {};
    for (int64_t d = 0; d < D; d += kLanes) {
        centre(row, mean, D, d, z);
        for (int l = 0; l < kLanes; ++l) {
            // Whatever this rounds to, the residual is what it then is, so that the bound holds.
            float whole = (z[l] * inverse + kRound) - kRound;
            whole = whole > 127.0f ? 127.0f : whole;
            whole = whole < -127.0f ? -127.0f : whole;
            const int32_t v = static_cast<int32_t>(whole);
            values[d + l] = static_cast<int8_t>(v);
            sums[l] += v;
            squares[l] += v * v;
            const float r = z[l] - scale * whole;
            residuals[l] += r * r;
            lengths[l] += z[l] * z[l];
        }
    }
    int64_t square = 0;
    for (int l = 0; l < kLanes; ++l) {
        result.sum += sums[l];
        square += squares[l];
    }
    result.scale = scale;
    result.norm = static_cast<double>(scale) * scale * static_cast<double>(square);
    // r itself is rounded twice, by at most 2 units of |z|.
    result.residual = residual_of(residuals, lengths, 1e-17) + 2.4e-7 * root_of_sum(lengths);
    return result;
}

template <typename V>
inline typename V::type as_float(const int32_t* dots, int32_t correction) {
    return V::from_whole(dots, correction);
}
template <typename V>
inline typename V::type as_float(const float* dots, int32_t) {
    return V::load(dots);
}

// ||s v||^2 of the row minus twice the product: the bound without the reaches.
template <typename V, typename T>
inline typename V::type bound_of(const T* dots, int32_t correction, typename V::type minus_scale,
                                 const QuantizedPanel& panel, int column) {
    const typename V::type product =
        V::multiply(as_float<V>(dots, correction), V::load(panel.scales + column));
    return V::multiply_add(product, minus_scale, V::load(panel.norms + column));
}

// Levels of `height` queries and 32 rows; dots (height, 32).
template <typename V, int height, typename T>
void quantized_estimate(const T* dots, const QuantizedGroup& group, const QuantizedPanel& panel,
                        const Levels& levels, uint8_t* estimates, int64_t step) {
    for (int r = 0; r < height; ++r) {
        const typename V::type minus_scale = V::broadcast(-group.scales[r]);
        const typename V::type slope = V::broadcast(levels.slopes[r]);
        const typename V::type offset = V::broadcast(levels.offsets[r]);
#pragma GCC unroll 8
        for (int column = 0; column < kPanel; column += V::width) {
            const typename V::type bound = bound_of<V>(
                dots + r * kPanel + column, group.corrections[r], minus_scale, panel, column);
            V::store_bytes(estimates + r * step + column, V::multiply_add(bound, slope, offset));
        }
    }
}

// The test of quantized_rows.h.
template <typename V, int height, typename T>
void quantized_test(const T* dots, const QuantizedGroup& group, const QuantizedPanel& panel,
                    uint32_t* hits, float* bounds) {
    for (int r = 0; r < height; ++r) {
        const typename V::type minus_scale = V::broadcast(-group.scales[r]);
        const typename V::type minus_reach = V::broadcast(-group.reaches[r]);
        const typename V::type threshold = V::broadcast(group.thresholds[r]);
        hits[r] = 0;
#pragma GCC unroll 8
        for (int column = 0; column < kPanel; column += V::width) {
            const typename V::type bound = bound_of<V>(
                dots + r * kPanel + column, group.corrections[r], minus_scale, panel, column);
            V::store(bounds + r * kPanel + column, bound);
            const typename V::type reached =
                V::multiply_add(V::load(panel.residuals + column), minus_reach, bound);
            hits[r] |= V::less_equal(reached, threshold) << column;
        }
    }
}

}  // namespace
}  // namespace pyad
