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

// Adds sixteen numbers in halves.
inline float sum_of(float* lanes) {
    for (int l = 0; l < 8; ++l) lanes[l] += lanes[l + 8];
    for (int l = 0; l < 4; ++l) lanes[l] += lanes[l + 4];
    return (lanes[0] + lanes[2]) + (lanes[1] + lanes[3]);
}

inline double root_of_sum(float* lanes) { return __builtin_sqrt(sum_of(lanes)); }

// The norm of a residual from sums of squares in float32, 16 lanes of up to 512 terms: each root is
// within 2e-5 of its value (512 + 4 units of 2^-24, halved). Centring rounds each component by at
// most one unit; `flushed` covers squares that were flushed to zero.
inline double residual_of(double residuals, double lengths, double flushed) {
    return (residuals + 1.2e-7 * lengths) * (1.0 + 4e-5) + flushed;
}

// Sixteen floats in registers of W: loops over plain arrays were left to the compiler once, and
// cost a third of a search.
template <int W>
struct Sixteen {
    typedef float type __attribute__((vector_size(4 * W)));
    typedef int32_t whole __attribute__((vector_size(4 * W)));
    static constexpr int parts = kLanes / W;
    type v[parts];
    static Sixteen of(float x) {
        Sixteen out;
        for (int i = 0; i < parts; ++i) out.v[i] = x - type{};
        return out;
    }
    static Sixteen load(const float* p) {
        Sixteen out;
        for (int i = 0; i < parts; ++i) __builtin_memcpy(&out.v[i], p + i * W, sizeof(type));
        return out;
    }
    void store(float* p) const {
        for (int i = 0; i < parts; ++i) __builtin_memcpy(p + i * W, &v[i], sizeof(type));
    }
    static Sixteen centred(const float* row, const float* mean, int64_t D, int64_t d) {
        if (d + kLanes <= D) return load(row + d) - load(mean + d);
        float z[kLanes];
        centre(row, mean, D, d, z);
        return load(z);
    }
    Sixteen size() const {
        Sixteen out;
        for (int i = 0; i < parts; ++i) out.v[i] = (type)((whole)v[i] & 0x7fffffff);
        return out;
    }
    static Sixteen larger(Sixteen a, Sixteen b) {
        for (int i = 0; i < parts; ++i) a.v[i] = a.v[i] > b.v[i] ? a.v[i] : b.v[i];
        return a;
    }
    static Sixteen smaller(Sixteen a, Sixteen b) {
        for (int i = 0; i < parts; ++i) a.v[i] = a.v[i] < b.v[i] ? a.v[i] : b.v[i];
        return a;
    }
    friend Sixteen operator+(Sixteen a, const Sixteen& b) {
        for (int i = 0; i < parts; ++i) a.v[i] = a.v[i] + b.v[i];
        return a;
    }
    friend Sixteen operator-(Sixteen a, const Sixteen& b) {
        for (int i = 0; i < parts; ++i) a.v[i] = a.v[i] - b.v[i];
        return a;
    }
    friend Sixteen operator*(Sixteen a, const Sixteen& b) {
        for (int i = 0; i < parts; ++i) a.v[i] = a.v[i] * b.v[i];
        return a;
    }
};

// The largest absolute value after centring; a NaN may be missed.
template <int W>
float largest_of(const float* row, const float* mean, int64_t D) {
    using X = Sixteen<W>;
    X largest[4];  // chains that do not wait for each other
    for (X& one : largest) one = X::of(0.0f);
    int64_t d = 0;
    for (; d + 4 * kLanes <= D; d += 4 * kLanes)
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i)
            largest[i] = X::larger(X::centred(row, mean, D, d + i * kLanes).size(), largest[i]);
    for (; d < D; d += kLanes)
        largest[0] = X::larger(X::centred(row, mean, D, d).size(), largest[0]);
    for (int i = 1; i < 4; ++i) largest[0] = X::larger(largest[i], largest[0]);
    float lanes[kLanes], result = 0.0f;
    largest[0].store(lanes);
    for (const float lane : lanes) result = result > lane ? result : lane;
    return result;
}

template <int W>
Quantized quantize_int8(const float* row, const float* mean, int64_t D, int8_t* values) {
    using X = Sixteen<W>;
    Quantized result;
    result.largest = largest_of<W>(row, mean, D);
    if (!(result.largest < kQuantizedLimit)) return result;
    // Vectors too small for a scale keep v = 0: their residual is then all of them.
    const bool usable = result.largest > 1e-28f;
    const float scale = usable ? result.largest / 127.0f : 0.0f;
    const X scales = X::of(scale), inverse = X::of(usable ? 127.0f / result.largest : 0.0f);
    const X round = X::of(12582912.0f);  // 1.5 * 2^23: adding it rounds to a whole number
    const X highest = X::of(127.0f), lowest = X::of(-127.0f);
    X residuals = X::of(0.0f), lengths = residuals, sums = residuals, squares = residuals;
#pragma GCC unroll 2
    for (int64_t d = 0; d < D; d += kLanes) {
        const X z = X::centred(row, mean, D, d);
        // Whatever this rounds to, the residual is what it then is, so that the bound holds.
        const X whole = X::larger(X::smaller((z * inverse + round) - round, highest), lowest);
        float wholes[kLanes];
        whole.store(wholes);
        for (int l = 0; l < kLanes; ++l)
            values[d + l] = static_cast<int8_t>(static_cast<int32_t>(wholes[l]));
        const X r = z - scales * whole;
        residuals = residuals + r * r;
        lengths = lengths + z * z;
        // Whole numbers below 2^24 in every lane: up to kQuantizedDim components these are exact.
        sums = sums + whole;
        squares = squares + whole * whole;
    }
    float lanes[4][kLanes];
    residuals.store(lanes[0]);
    lengths.store(lanes[1]);
    sums.store(lanes[2]);
    squares.store(lanes[3]);
    result.sum = static_cast<int32_t>(sum_of(lanes[2]));
    const double square = sum_of(lanes[3]);  // below 2^24 as well
    const double length = root_of_sum(lanes[1]);
    result.scale = scale;
    result.norm = static_cast<double>(scale) * scale * square;
    // r itself is rounded twice, by at most 2 units of |z|.
    result.residual = residual_of(root_of_sum(lanes[0]), length, 1e-17) + 2.4e-7 * length;
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
