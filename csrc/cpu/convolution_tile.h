// Products of the convolutions, written once over a vector type V and compiled for each instruction
// set by convolution_<level>.cpp. No inline function of another header may be called here: one
// compiled with AVX-512 could be the copy that the linker keeps for everybody.
//
// V has R rows and P vectors of sums in registers at most. An output's products are added in the
// order of parts and k, each with one multiply_add: how rows are grouped changes nothing.
#pragma once

#include "convolution_kernels.h"

namespace pyad {
namespace {

// An address of a register and two multiples of the stride reaches three rows.
template <typename V, int R, int P>
inline void sums_of(const Rows& rows, const float* first, const float* panel, float* sums) {
    constexpr int W = V::width, kReach = 3, kLine = 16;
    typename V::type sum[R][P];
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
        for (int p = 0; p < P; ++p) sum[r][p] = V::zero();
    const int64_t stride = rows.stride;
    // The product after this one often has the panel behind this one.
    const int64_t panel_size = rows.parts * rows.length * P * W;
    const float* b = panel;
    for (int64_t s = 0; s < rows.parts; ++s) {
        const float* a[(R + kReach - 1) / kReach];
#pragma GCC unroll 8
        for (int i = 0; i < (R + kReach - 1) / kReach; ++i)
            a[i] = first + rows.offsets[s] + kReach * i * stride;
        for (int64_t k = 0; k < rows.length; ++k, b += P * W) {
            typename V::type right[P];
#pragma GCC unroll 4
            for (int p = 0; p < P; ++p) right[p] = V::load(b + p * W);
#pragma GCC unroll 4
            for (int p = 0; p < P * W; p += kLine) __builtin_prefetch(b + panel_size + p, 0, 2);
#pragma GCC unroll 16
            for (int r = 0; r < R; ++r) {
                const typename V::type left = V::broadcast(a[r / kReach][r % kReach * stride]);
#pragma GCC unroll 4
                for (int p = 0; p < P; ++p) sum[r][p] = V::multiply_add(left, right[p], sum[r][p]);
            }
#pragma GCC unroll 8
            for (int i = 0; i < (R + kReach - 1) / kReach; ++i) ++a[i];
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
        for (int p = 0; p < P; ++p) V::store(sums + (r * P + p) * W, sum[r][p]);
}

// A vector of sums, W channels from channel c of the panel on and x pixels along the row.
template <typename V>
inline void finish(typename V::type sum, const Epilogue& e, int64_t c, int64_t x, int64_t y) {
    const int64_t block = c / kBlock, lane = c % kBlock;
    typename V::type v = V::add(sum, V::load(e.bias + c));
    if (e.residual)
        v = V::add(v, V::load(e.residual + block * e.residual_block + y * e.residual_row +
                              x * kBlock + lane));
    // The second operand is kept where the first is not larger, or not smaller: a NaN stays.
    v = V::smaller(V::broadcast(e.high), V::larger(V::broadcast(e.low), v));
    V::store(e.out + block * e.out_block + y * e.out_row + x * kBlock + lane, v);
}

template <typename V, int R, int P>
void multiply_rows(const Rows& rows, const float* first, const float* panel, float* out,
                   int64_t stride) {
    constexpr int W = V::width;
    float sums[R * P * W];
    sums_of<V, R, P>(rows, first, panel, sums);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
        for (int p = 0; p < P; ++p)
            V::store(out + r * stride + p * W, V::load(sums + (r * P + p) * W));
}

template <typename V, int R, int P>
void convolve_rows(const Rows& rows, const float* first, const float* panel, const Epilogue& e,
                   int64_t x) {
    constexpr int W = V::width;
    float sums[R * P * W];
    sums_of<V, R, P>(rows, first, panel, sums);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
        for (int p = 0; p < P; ++p) finish<V>(V::load(sums + (r * P + p) * W), e, p * W, x + r, 0);
}

// The forms for 1 to R rows.
template <typename V, int R, int P>
struct Forms {
    decltype(&multiply_rows<V, 1, P>) multiply[R + 1] = {};
    decltype(&convolve_rows<V, 1, P>) convolve[R + 1] = {};

    constexpr Forms() { fill<R>(); }

    template <int n>
    constexpr void fill() {
        multiply[n] = multiply_rows<V, n, P>;
        convolve[n] = convolve_rows<V, n, P>;
        if constexpr (n > 1) fill<n - 1>();
    }
};

template <typename V, int R, int P>
constexpr Forms<V, R, P> kForms{};

// Calls body(first row, rows) over groups of about equal size, R at most.
template <int R, typename Body>
inline void in_groups(int64_t count, const Body& body) {
    int64_t groups = (count + R - 1) / R;
    for (int64_t r = 0; groups > 0; --groups) {
        const int64_t n = (count - r + groups - 1) / groups;
        body(r, n);
        r += n;
    }
}

template <typename V, int R, int P>
void multiply_of(const Rows& rows, int64_t count, const float* panel, int64_t blocks, float* out,
                 int64_t stride) {
    const auto run = [&](const auto& forms) {
        in_groups<R>(count, [&](int64_t r, int64_t n) {
            forms.multiply[n](rows, rows.first + r * rows.stride, panel, out + r * stride, stride);
        });
    };
    // A panel of two blocks may be the last and hold one.
    if (blocks * kBlock == P * V::width)
        run(kForms<V, R, P>);
    else
        run(kForms<V, R, kBlock / V::width>);
}

template <typename V, int R, int P>
void convolve_of(const Rows& rows, int64_t count, const float* panel, int64_t blocks,
                 const Epilogue& e) {
    const auto run = [&](const auto& forms) {
        in_groups<R>(count, [&](int64_t r, int64_t n) {
            forms.convolve[n](rows, rows.first + r * rows.stride, panel, e, r);
        });
    };
    if (blocks * kBlock == P * V::width)
        run(kForms<V, R, P>);
    else
        run(kForms<V, R, kBlock / V::width>);
}

}  // namespace
}  // namespace pyad
