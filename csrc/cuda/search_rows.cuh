// Rows and queries of the distance screen: half or 8-bit copies with what bounds their error.
//
// A vector q, centred by a mean mu that both sides share, is x = fl(q - mu) = s v + r, with v in
// halves (s a power of two) or in [-127, 127] (s = largest / 127). rho >= ||r|| is the actual norm
// of the residual, rounded up, with what centring moved (u ||x||, u = 2^-24). For a query x and a
// row y, with n = ||s v||^2, T = ||s_x v_x - s_y v_y||^2 = n_x + n_y - 2 s_x s_y (v_x . v_y), and
// the true distance lies within rho_x + rho_y of sqrt(T).
//
// What float arithmetic does to T is at most eta (n_x + n_y), eta = 1.01 (eps + (D / 32 + 64) u):
//  - The dot product. 8 bits: exact in int32; eps = 0. Halves: products are exact, tensor cores sum
//    them in float32 in an unspecified grouping, g >= 2 products with the running sum at a time,
//    each operand truncated to the last place of the largest, the result truncated (Fasi, Higham,
//    Mikaitis, Pranesh: "Numerical behavior of NVIDIA tensor cores", PeerJ CS 2021). A step costs
//    at most (g + 2) 2^-23 of the sum of magnitudes so far, the D / g steps together at most 2 D
//    2^-23 sum |v_x v_y|. With padding: eps = (D + 16) 2^-22, of ||v_x|| ||v_y||, and 2 s_x s_y
//    ||v_x|| ||v_y|| <= n_x + n_y.
//  - The norms: 32 partial sums of D / 32 squares, a tree of 5, two scalings: (D / 32 + 8) u of n.
//  - The evaluation below: under 16 u (n_x + n_y) and 8 u rho_y^2.
// So, with terms per row (base, scale, residual, spread) and per query (low, high, residual,
// scale),
//     e = base_y - scale_y (scale_x p),   base_y = n_y (1 - eta) - rho_y^2 (1 + 16 u)
//     a row at distance <= d has   e - 2 (d + rho_x) rho_y <= (d + rho_x)^2 - low_x
//     (`may_be_within`) T <= e + spread_y + high_x,  and the distance is <= sqrt(T) + rho_x + rho_y
//     (`reach`)
// where low = n (1 - eta), high = n (1 + 2.5 eta), spread = 2.5 eta n + rho^2 (1 + 16 u).
//
// Rows are ordered by canonical distance, a float32 sum whose root is within (D / 32 + 8) u of the
// true distance, and off by no more than 1e-18 where squares underflow: `reach` widens by that for
// the row it bounds and for those it excludes.
//
// Values from 1e12 on, and D > 2^15, take the exact path.
#pragma once

#include "mma.h"

namespace pyad::cuda {

constexpr float kUnit = 0x1p-24f;
constexpr float kSearchLimit = 1e12f;
constexpr int64_t kSearchDim = 1 << 15;
constexpr int kTile = 128;       // queries, and bank rows, of one block of the screen
constexpr int kStageBytes = 64;  // of a row that are in shared memory at a time

struct RowTerms {
    float base, scale, residual, spread;
};
struct QueryTerms {
    float low, high, residual, scale;  // scale: 2 s
};

enum QueryState : int32_t { kScreened = 0, kExact = 1, kNotFinite = 2 };

struct HalfKind {
    using Fragment = FragmentF32;
    static constexpr int bytes = 2;
    PYAD_HOST_DEVICE static float eta(int64_t D) {
        return 1.01f * ((D + 16) * 0x1p-22f + (D / 32 + 64) * kUnit);
    }
};
struct ByteKind {
    using Fragment = FragmentS32;
    static constexpr int bytes = 1;
    PYAD_HOST_DEVICE static float eta(int64_t D) { return 1.01f * ((D / 32 + 64) * kUnit); }
};

inline int64_t round_up_to(int64_t n, int64_t step) { return (n + step - 1) / step * step; }
// Bytes from one row to the next.
template <typename Kind>
int64_t screen_pitch(int64_t D) {
    return round_up_to(D * Kind::bytes, kStageBytes);
}

PYAD_DEVICE float larger(float a, float b) { return a > b ? a : b; }

// A distance, so wide that no row beyond it comes before one within it in canonical order.
PYAD_DEVICE float widened(float distance, int64_t D) {
    return add(mul(distance, 1.0f + (D / 16 + 32) * kUnit), 2e-18f);
}

// A distance within which the row behind e lies, widened.
PYAD_DEVICE float reach(float e, const RowTerms& row, const QueryTerms& query, int64_t D) {
    const float sum = add(add(e, row.spread), query.high);
    const float T = sum <= 0.0f ? 0.0f : sum;  // NaN stays, and bounds nothing
    const float distance = add(mul(root(T), 1.0f + 16 * kUnit), add(query.residual, row.residual));
    return widened(distance, D);
}

// The test at distance d as two numbers of the query.
struct Bar {
    float twice, threshold;
};
PYAD_DEVICE Bar bar_of(float d, const QueryTerms& query) {
    const float r = mul(add(d, query.residual), 1.0f + 16 * kUnit);
    return {mul(2.0f, r), sub(mul(mul(r, r), 1.0f + 16 * kUnit), query.low)};
}
// True as well where an infinity makes the comparison NaN.
PYAD_DEVICE bool may_be_within(float e, float row_residual, const Bar& bar) {
    return !(sub(e, mul(bar.twice, row_residual)) > bar.threshold);
}

struct CopyFloats {
    static constexpr int threads = 256;
    struct Shared {};
    const float* from;
    float* to;
    int64_t n;

    Grid grid() const { return {(n + threads - 1) / threads}; }
    PYAD_DEVICE void operator()(const Block& block, Shared&) const {
        block.for_each_thread([&](int t) {
            const int64_t i = block.x * threads + t;
            if (i < n) to[i] = from[i];
        });
    }
};

// mean[d] of M rows, 32 columns a block. Any vector serves; it only has to be the same for all.
struct MeanOfRows {
    static constexpr int threads = 256;
    struct Shared {
        float sums[threads];
    };
    const float* rows;
    int64_t M, D;
    float* mean;

    PYAD_DEVICE void operator()(const Block& block, Shared& shared) const {
        block.for_each_thread([&](int t) {
            const int64_t d = block.x * kWarp + t % kWarp;
            float sum = 0.0f;
            if (d < D)
                for (int64_t m = t / kWarp; m < M; m += threads / kWarp)
                    sum = add(sum, rows[m * D + d]);
            shared.sums[t] = sum;
        });
        block.for_each_thread([&](int t) {
            const int64_t d = block.x * kWarp + t;
            if (t >= kWarp || d >= D) return;
            float sum = 0.0f;
            for (int i = t; i < threads; i += kWarp) sum = add(sum, shared.sums[i]);
            mean[d] = div(sum, static_cast<float>(M));
        });
    }
};

// One warp a row: its copy and its terms. For the bank it raises *huge where a value is beyond the
// limit; for queries it sets their state and resets their counters.
template <typename Kind>
struct QuantizeRows {
    static constexpr int threads = 128;
    struct Shared {};
    const float* rows;
    int64_t n, padded, D, pitch;
    const float* mean;
    unsigned char* values;    // (padded, pitch)
    RowTerms* row_terms;      // bank: (padded)
    int32_t* huge;            // bank: one flag
    QueryTerms* query_terms;  // queries: (padded)
    int32_t* state;           // queries: (padded)
    int32_t* counts;          // queries: (padded), set to 0
    uint32_t* bounds;         // queries: (padded, k), set to +infinity
    int64_t k;

    PYAD_DEVICE void operator()(const Block& block, Shared&) const {
        block.for_each_warp([&](const Warp& warp) {
            const int64_t i = block.x * (threads / kWarp) + warp.index;
            if (i < padded) quantize(warp, i);
        });
    }

    PYAD_DEVICE void quantize(const Warp& warp, int64_t i) const {
        const float* row = rows + i * D;
        const int64_t size = i < n ? D : 0;
        PerLane<float> largest, finite;
        warp.for_each_lane([&](int t) {
            float most = 0.0f, zero = 0.0f;
            for (int64_t d = t % kWarp; d < size; d += kWarp) {
                const float x = sub(row[d], mean[d]);
                zero = add(zero, sub(row[d], row[d]));  // NaN where the value is not finite
                const float magnitude = x < 0.0f ? -x : x;
                most = larger(most, magnitude < kSearchLimit ? magnitude : kSearchLimit);
            }
            largest[t] = most;
            finite[t] = zero == 0.0f ? 0.0f : 1.0f;
        });
        warp.reduce(largest, [](float a, float b) { return larger(a, b); });
        warp.reduce(finite, [](float a, float b) { return larger(a, b); });
        PerLane<float> norm, residual, scale;
        warp.for_each_lane([&](int t) {
            const bool usable = largest[t] < kSearchLimit && finite[t] == 0.0f;
            float inverse;
            scale[t] = scale_of(largest[t], inverse);
            norm[t] = residual[t] = 0.0f;
            for (int64_t d = t % kWarp; d < pitch / Kind::bytes; d += kWarp) {
                const float x = usable && d < size ? sub(row[d], mean[d]) : 0.0f;
                const float v = stored(i, d, mul(x, inverse));
                norm[t] = add(norm[t], mul(v, v));
                const float r = sub(x, mul(scale[t], v));
                residual[t] = add(residual[t], mul(r, r));
            }
        });
        warp.reduce(norm, [](float a, float b) { return add(a, b); });
        warp.reduce(residual, [](float a, float b) { return add(a, b); });
        warp.for_each_lane([&](int t) {
            if (t % kWarp == 0)
                finish(i, largest[t] < kSearchLimit, finite[t] == 0.0f, scale[t],
                       mul(mul(scale[t], scale[t]), norm[t]), root(residual[t]));
            if (bounds != nullptr)
                for (int64_t j = t % kWarp; j < k; j += kWarp)
                    bounds[i * k + j] = bits_of(INFINITY);
        });
    }

    // s, at least 2^-60 so that products of two of them stay normal, and about 1 / s.
    PYAD_DEVICE float scale_of(float largest, float& inverse) const {
        if constexpr (Kind::bytes == 1) {
            const float s = larger(div(largest, 127.0f), 0x1p-60f);
            inverse = div(1.0f, s);
            return s;
        } else {  // |v| < 512
            const float power = float_of(bits_of(largest) & 0x7f800000u);
            const float s = larger(mul(power, 0x1p-8f), 0x1p-60f);
            inverse = float_of((254u << 23) - bits_of(s));
            return s;
        }
    }

    // Rounds to what the copy holds, writes it, and returns its value.
    PYAD_DEVICE float stored(int64_t i, int64_t d, float x) const {
        unsigned char* out = values + i * pitch + d * Kind::bytes;
        if constexpr (Kind::bytes == 1) {
            const float v = rintf(x < -127.0f ? -127.0f : (x > 127.0f ? 127.0f : x));
            *reinterpret_cast<signed char*>(out) = static_cast<signed char>(v);
            return v;
        } else {
            const uint16_t half = half_of(x);
            *reinterpret_cast<uint16_t*>(out) = half;
            return float_of_half(half);
        }
    }

    PYAD_DEVICE void finish(int64_t i, bool within_limit, bool finite, float s, float norm,
                            float residual) const {
        const float eta = Kind::eta(D);
        // Sums, centring, s v and the root rounded, squares underflowed.
        const float rho = add(
            add(mul(residual, 1.0f + (D / 32 + 64) * kUnit), mul(8 * kUnit, root(norm))), 3e-20f);
        if (row_terms != nullptr) {
            RowTerms& out = row_terms[i];
            if (i >= n) {
                out = {INFINITY, 0.0f, 0.0f, 0.0f};
                return;
            }
            const float square = mul(mul(rho, rho), 1.0f + 16 * kUnit);
            out = {sub(mul(norm, 1.0f - eta), square), s, rho, add(mul(norm, 2.5f * eta), square)};
            if (!within_limit || !finite) *huge = 1;
            return;
        }
        const bool screened = i < n && within_limit && finite;
        query_terms[i] = screened ? QueryTerms{mul(norm, 1.0f - eta), mul(norm, 1.0f + 2.5f * eta),
                                               rho, mul(2.0f, s)}
                                  : QueryTerms{INFINITY, INFINITY, 0.0f, 0.0f};
        state[i] = !finite ? kNotFinite : (screened ? kScreened : kExact);
        counts[i] = 0;
    }
};

}  // namespace pyad::cuda
