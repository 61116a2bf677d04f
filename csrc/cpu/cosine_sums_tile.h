// The channel sums, written once over W floats and compiled for each instruction set by
// cosine_sums_<level>.cpp. No inline function of another header may be called here: one compiled
// with AVX-512 could be the copy that the linker keeps for everybody.
#pragma once

#include "cosine_sums.h"
#include "lanes4.h"

namespace pyad {
namespace {

template <int W>
struct Vector {
    typedef float type __attribute__((vector_size(4 * W)));
    static type load(const float* p) {
        type v;
        __builtin_memcpy(&v, p, sizeof(v));
        return v;
    }
    static void store(float* p, type v) { __builtin_memcpy(p, &v, sizeof(v)); }
};
template <>
struct Vector<1> {
    using type = float;
    static type load(const float* p) { return *p; }
    static void store(float* p, type v) { *p = v; }
};

// The three sums of W locations.
template <int W>
struct Sums {
    using V = Vector<W>;
    typename V::type ab, aa, bb;
    static Sums of(typename V::type a, typename V::type b) { return {a * b, a * a, b * b}; }
    static Sums load(const ChannelSums& from, int64_t i) {
        return {V::load(from.ab + i), V::load(from.aa + i), V::load(from.bb + i)};
    }
    void store(const ChannelSums& to, int64_t i) const {
        V::store(to.ab + i, ab);
        V::store(to.aa + i, aa);
        V::store(to.bb + i, bb);
    }
    Sums operator+(const Sums& other) const {
        return {ab + other.ab, aa + other.aa, bb + other.bb};
    }
};

// The products of a group, as a tree; product(l) is that of its channel l.
template <typename Product>
inline auto tree(const Product& product) {
    const auto even = (product(0) + product(4)) + (product(2) + product(6));
    const auto odd = (product(1) + product(5)) + (product(3) + product(7));
    return even + odd;
}

// Adds `channels` channels, a group or less, to the sums of locations [i, n), W at a time.
template <int W>
inline void add_group(const float* a, const float* b, int64_t channels, int64_t plane, int64_t i,
                      int64_t n, const ChannelSums& sums) {
    using V = Vector<W>;
    if (channels == kGroup)
        for (; i + W <= n; i += W) {
            const auto product = [&](int64_t l) {
                return Sums<W>::of(V::load(a + l * plane + i), V::load(b + l * plane + i));
            };
            (Sums<W>::load(sums, i) + tree(product)).store(sums, i);
        }
    else
        for (; i + W <= n; i += W) {
            const auto product = [&](int64_t l) {
                return l < channels
                           ? Sums<W>::of(V::load(a + l * plane + i), V::load(b + l * plane + i))
                           : Sums<W>{};
            };
            (Sums<W>::load(sums, i) + tree(product)).store(sums, i);
        }
    if constexpr (W > 4)
        add_group<W / 2>(a, b, channels, plane, i, n, sums);
    else if constexpr (W > 1)
        add_group<1>(a, b, channels, plane, i, n, sums);
}

template <int W>
void planes_of(const float* a, const float* b, int64_t C, int64_t plane, int64_t n,
               const ChannelSums& sums) {
    for (int64_t i = 0; i < n; ++i) sums.ab[i] = sums.aa[i] = sums.bb[i] = 0.0f;
    for (int64_t c = 0; c < C; c += kGroup)
        add_group<W>(a + c * plane, b + c * plane, C - c < kGroup ? C - c : kGroup, plane, 0, n,
                     sums);
}

// Four locations at once, four lanes of each: what is left of a group's products after the first
// step of the tree.
struct Quads {
    using V = Vector<4>;
    Lanes4 ab[4], aa[4], bb[4];
    void set(int k, const float* a, const float* b) {
        const Lanes4 a0 = V::load(a), a4 = V::load(a + 4), b0 = V::load(b), b4 = V::load(b + 4);
        ab[k] = a0 * b0 + a4 * b4;
        aa[k] = a0 * a0 + a4 * a4;
        bb[k] = b0 * b0 + b4 * b4;
    }
};

// The other two steps of the tree, for four locations, with the lanes transposed on the way.
inline Lanes4 finish(const Lanes4* v) {
    const Lanes4 a = PYAD_PICK(v[0], v[1], 0, 1, 4, 5) + PYAD_PICK(v[0], v[1], 2, 3, 6, 7);
    const Lanes4 b = PYAD_PICK(v[2], v[3], 0, 1, 4, 5) + PYAD_PICK(v[2], v[3], 2, 3, 6, 7);
    return PYAD_PICK(a, b, 0, 2, 4, 6) + PYAD_PICK(a, b, 1, 3, 5, 7);
}

void pixels_of(const float* a, const float* b, int64_t C, int64_t n, const ChannelSums& sums) {
    const int64_t whole = C / kGroup * kGroup;
    for (int64_t i = 0; i < n; i += 4) {
        const int64_t count = n - i < 4 ? n - i : 4;
        // Locations that are missing repeat the last one.
        const float *from_a[4], *from_b[4];
        for (int64_t k = 0; k < 4; ++k) {
            const int64_t at = (i + (k < count ? k : count - 1)) * C;
            from_a[k] = a + at;
            from_b[k] = b + at;
        }
        Sums<4> sum{};
        for (int64_t c = 0; c < whole; c += kGroup) {
            Quads q;
#pragma GCC unroll 4
            for (int k = 0; k < 4; ++k) q.set(k, from_a[k] + c, from_b[k] + c);
            sum = sum + Sums<4>{finish(q.ab), finish(q.aa), finish(q.bb)};
        }
        if (whole < C) {
            Quads q;
            for (int k = 0; k < 4; ++k) {
                float last_a[kGroup] = {}, last_b[kGroup] = {};
                for (int64_t c = whole; c < C; ++c) {
                    last_a[c - whole] = from_a[k][c];
                    last_b[c - whole] = from_b[k][c];
                }
                q.set(k, last_a, last_b);
            }
            sum = sum + Sums<4>{finish(q.ab), finish(q.aa), finish(q.bb)};
        }
        float ab[4], aa[4], bb[4];
        sum.store({ab, aa, bb}, 0);
        for (int64_t k = 0; k < count; ++k) {
            sums.ab[i + k] = ab[k];
            sums.aa[i + k] = aa[k];
            sums.bb[i + k] = bb[k];
        }
    }
}

template <int W>
void row_statistics_of(const float* row, int64_t n, float* peak, float* sum) {
    using V = Vector<W>;
    constexpr int K = kRowSums / W;
    float last[kRowSums];
    const int64_t whole = n / kRowSums * kRowSums;
    // What is missing from the last sixteen is a zero for the sum, the first value for the maximum.
    for (int64_t l = 0; l < kRowSums; ++l) last[l] = whole + l < n ? row[whole + l] : row[0];
    typename V::type best[K], sums[K] = {};
#pragma GCC unroll 4
    for (int k = 0; k < K; ++k) best[k] = V::load(last + k * W);
    for (int64_t l = n - whole; l < kRowSums; ++l) last[l] = 0.0f;
    for (int64_t i = 0; i < whole; i += kRowSums)
#pragma GCC unroll 4
        for (int k = 0; k < K; ++k) {
            const typename V::type v = V::load(row + i + k * W);
            best[k] = v > best[k] ? v : best[k];
            sums[k] = sums[k] + v;
        }
    float lanes[kRowSums], peaks[kRowSums];
#pragma GCC unroll 4
    for (int k = 0; k < K; ++k) {
        V::store(lanes + k * W, sums[k] + V::load(last + k * W));
        V::store(peaks + k * W, best[k]);
    }
    for (int64_t half = kRowSums / 2; half >= 1; half /= 2)
        for (int64_t l = 0; l < half; ++l) {
            lanes[l] = lanes[l] + lanes[l + half];
            peaks[l] = peaks[l + half] > peaks[l] ? peaks[l + half] : peaks[l];
        }
    *sum = lanes[0];
    *peak = peaks[0];
}

template <int W>
constexpr CosineKernels cosine_of() {
    return {planes_of<W>, pixels_of, row_statistics_of<W>};
}

}  // namespace
}  // namespace pyad
