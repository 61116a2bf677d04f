// From dot products to sums of kernel values, written once over a vector type V and compiled for
// each instruction set. No inline function of another header's external linkage may be called here:
// compiled with AVX-512, it could be the copy that the linker keeps for everybody.
#pragma once

#include "density.h"

namespace pyad {
namespace {

template <int W>
struct DensityLanes {
    typedef float floats __attribute__((vector_size(4 * W)));
    typedef int32_t ints __attribute__((vector_size(4 * W)));
    typedef uint32_t words __attribute__((vector_size(4 * W)));
    template <typename T>
    static T load(const void* p) {
        T v;
        __builtin_memcpy(&v, p, sizeof(v));
        return v;
    }
    static void store(void* p, floats v) { __builtin_memcpy(p, &v, sizeof(v)); }
    // (16, 16) words of 32 bits; strides in bytes. Levels that know no faster way have none.
    static constexpr bool transposes = false;
    static void transpose(const void*, int64_t, void*, int64_t) {}
};

// exp2_of, W at a time; V::maximum(t, floor) is t > floor ? t : floor. Fixed references keep t
// above the floor.
template <typename V, bool fixed>
inline typename V::floats exp2_lanes(typename V::floats t) {
    using F = typename V::floats;
    using U = typename V::words;
    if (!fixed) t = V::maximum(t, F{} + kDensityFloor);
    const F rounded = t + kRoundingMagic;
    const F f = t - (rounded - kRoundingMagic);
    F p = f * kExp2Coefficient4 + kExp2Coefficient3;
    p = p * f + kExp2Coefficient2;
    p = p * f + kExp2Coefficient1;
    p = p * f + kExp2Coefficient0;
    p = p * f + 1.0f;
    return reinterpret_cast<F>(reinterpret_cast<U>(p) + (reinterpret_cast<U>(rounded) << 23));
}

// Rare: brings the sums of one feature to the largest of `count` dot products.
__attribute__((noinline, unused)) void raise_reference(const int32_t* dots, int64_t count,
                                                       float scale, int32_t* reference,
                                                       float* lanes) {
    int32_t largest = dots[0];
    for (int64_t j = 1; j < count; ++j) largest = dots[j] > largest ? dots[j] : largest;
    const float factor = kernel_value(*reference, largest, scale);
    for (int l = 0; l < kDensityRun; ++l) lanes[l] = lanes[l] * factor;
    *reference = largest;
}

// Adds the kernel values of one feature and `runs` runs of queue rows, of which the first `count`
// rows exist (whole: all).
template <typename V, int runs, bool whole, bool fixed>
inline void add_values(const int32_t* dots, int64_t count, float scale, int32_t reference,
                       float* lanes) {
    using F = typename V::floats;
    using I = typename V::ints;
    constexpr int W = V::width;
#pragma GCC unroll 4
    for (int l = 0; l < kDensityRun; l += W) {
        F sum = V::template load<F>(lanes + l);
#pragma GCC unroll 2
        for (int j = l; j < runs * kDensityRun; j += kDensityRun) {
            const I difference = V::template load<I>(dots + j) - reference;
            F value = exp2_lanes<V, fixed>(scale * __builtin_convertvector(difference, F));
            if (!whole) {  // what comes from no row is taken out bit by bit
                I kept;
                for (int i = 0; i < W; ++i) kept[i] = j + i < count ? -1 : 0;
                value = reinterpret_cast<F>(reinterpret_cast<I>(value) & kept);
            }
            sum = sum + value;
        }
        V::store(lanes + l, sum);
    }
}

// Adds the kernel values of one feature and runs of queue rows, `left` of which exist, at least
// one. first: nothing was added yet. Dot products with rows that do not exist are overwritten.
template <typename V, int runs>
inline void absorb(int32_t* dots, int64_t left, const DensityExponent& exponent, bool first,
                   int32_t* reference, float* lanes) {
    using F = typename V::floats;
    using I = typename V::ints;
    constexpr int W = V::width;
    if (exponent.fixed) {
        if (left >= runs * kDensityRun)
            add_values<V, runs, true, true>(dots, left, exponent.scale, *reference, lanes);
        else
            add_values<V, runs, false, true>(dots, left, exponent.scale, *reference, lanes);
        return;
    }
    if (first) *reference = dots[0];
    for (int run = 0; run < runs && left > 0; ++run, dots += kDensityRun, left -= kDensityRun) {
        const int64_t count = left < kDensityRun ? left : kDensityRun;
        for (int64_t j = count; j < kDensityRun; ++j) dots[j] = *reference;
        F most = F{} + kDensityFloor;
#pragma GCC unroll 4
        for (int j = 0; j < kDensityRun; j += W) {
            const I difference = V::template load<I>(dots + j) - *reference;
            most = V::maximum(exponent.scale * __builtin_convertvector(difference, F), most);
        }
        if (V::any_above(most, kDensityCeiling))
            raise_reference(dots, count, exponent.scale, reference, lanes);
        if (count == kDensityRun)
            add_values<V, 1, true, false>(dots, count, exponent.scale, *reference, lanes);
        else
            add_values<V, 1, false, false>(dots, count, exponent.scale, *reference, lanes);
    }
}

}  // namespace
}  // namespace pyad
