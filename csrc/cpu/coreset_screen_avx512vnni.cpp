#ifdef PYAD_X86_LEVELS
#include "avx512.h"
#include "coreset_screen.h"

namespace pyad {
namespace {

constexpr int kHeight = 12;

void nothing() {}

// dpbusd multiplies 64 pairs of bytes, unsigned by signed, and adds four neighbours.
uint32_t tile(const int8_t* points, const uint8_t* panel, int64_t depth, const int32_t* offsets,
              const int32_t* bars, uint32_t* hits, int32_t* dots) {
    __m512i left[kHeight], right[kHeight];
    const __m512i offsets0 = _mm512_loadu_si512(offsets),
                  offsets1 = _mm512_loadu_si512(offsets + 16);
#pragma GCC unroll 16
    for (int r = 0; r < kHeight; ++r) {
        left[r] = offsets0;
        right[r] = offsets1;
    }
    for (int64_t d = 0; d < depth; d += 4, panel += kCoresetPanel * 4) {
        const __m512i picks0 = _mm512_loadu_si512(panel), picks1 = _mm512_loadu_si512(panel + 64);
#pragma GCC unroll 16
        for (int r = 0; r < kHeight; ++r) {
            int bytes;
            __builtin_memcpy(&bytes, points + r * depth + d, 4);
            const __m512i point = _mm512_set1_epi32(bytes);
            left[r] = _mm512_dpbusd_epi32(left[r], picks0, point);
            right[r] = _mm512_dpbusd_epi32(right[r], picks1, point);
        }
    }
    // Through memory, so that the loop above keeps its sums in registers (GCC 12 would not
    // otherwise).
#pragma GCC unroll 16
    for (int r = 0; r < kHeight; ++r) {
        _mm512_storeu_si512(dots + r * kCoresetPanel, left[r]);
        _mm512_storeu_si512(dots + r * kCoresetPanel + 16, right[r]);
    }
    uint32_t any = 0;
    for (int r = 0; r < kHeight; ++r) {
        const __m512i bar = _mm512_set1_epi32(bars[r]);
        const int32_t* dot = dots + r * kCoresetPanel;
        const uint32_t low = bits_of(_mm512_cmpgt_epi32_mask(_mm512_loadu_si512(dot), bar));
        const uint32_t high = bits_of(_mm512_cmpgt_epi32_mask(_mm512_loadu_si512(dot + 16), bar));
        hits[r] = low | high << 16;
        any |= static_cast<uint32_t>(hits[r] != 0) << r;
    }
    return any;
}

__mmask16 lanes_of(int64_t left) {
    return left >= 16 ? 0xffff : static_cast<__mmask16>((1u << left) - 1);
}

}  // namespace

void coreset_scan_avx512(const int8_t* point, const uint8_t* panels, int64_t count, int64_t depth,
                         const int32_t* offsets, int32_t bar, uint32_t* hits) {
    const __m512i bars = _mm512_set1_epi32(bar);
    for (int64_t p = 0; p < count; ++p, offsets += kCoresetPanel) {
        // Two sums for each half: one would wait for itself.
        __m512i low[2] = {_mm512_loadu_si512(offsets), _mm512_setzero_si512()};
        __m512i high[2] = {_mm512_loadu_si512(offsets + 16), _mm512_setzero_si512()};
        for (int64_t d = 0; d < depth; d += 8, panels += 2 * kCoresetPanel * 4) {
#pragma GCC unroll 2
            for (int i = 0; i < 2; ++i) {
                int bytes;
                __builtin_memcpy(&bytes, point + d + 4 * i, 4);
                const __m512i four = _mm512_set1_epi32(bytes);
                const uint8_t* picks = panels + i * kCoresetPanel * 4;
                low[i] = _mm512_dpbusd_epi32(low[i], _mm512_loadu_si512(picks), four);
                high[i] = _mm512_dpbusd_epi32(high[i], _mm512_loadu_si512(picks + 64), four);
            }
        }
        const uint32_t first =
            bits_of(_mm512_cmpgt_epi32_mask(_mm512_add_epi32(low[0], low[1]), bars));
        const uint32_t second =
            bits_of(_mm512_cmpgt_epi32_mask(_mm512_add_epi32(high[0], high[1]), bars));
        hits[p] = first | second << 16;
    }
}

float coreset_largest_avx512(const float* points, int64_t n, int64_t P, const float* mean) {
    __m512 most = _mm512_setzero_ps();
    for (int64_t i = 0; i < n; ++i, points += P)
        for (int64_t d = 0; d < P; d += 16) {
            const __mmask16 lanes = lanes_of(P - d);
            const __m512 x = _mm512_sub_ps(_mm512_maskz_loadu_ps(lanes, points + d),
                                           _mm512_maskz_loadu_ps(lanes, mean + d));
            most = _mm512_max_ps(most, _mm512_abs_ps(x));
        }
    return _mm512_reduce_max_ps(most);
}

float coreset_quantize_avx512(const float* point, int64_t P, const float* mean, float scale,
                              int8_t* out, int32_t* norm, int32_t* sum) {
    const __m512 steps = _mm512_set1_ps(scale), inverse = _mm512_set1_ps(1.0f / scale);
    __m512 residuals = _mm512_setzero_ps(), lengths = _mm512_setzero_ps();
    __m512i norms = _mm512_setzero_si512(), sums = _mm512_setzero_si512();
    for (int64_t d = 0; d < P; d += 16) {
        const __mmask16 lanes = lanes_of(P - d);
        const __m512 x = _mm512_sub_ps(_mm512_maskz_loadu_ps(lanes, point + d),
                                       _mm512_maskz_loadu_ps(lanes, mean + d));
        // Whatever this rounds to, the residual is what it then is, so that the bound holds.
        __m512i v = _mm512_cvtps_epi32(_mm512_mul_ps(x, inverse));
        v = _mm512_max_epi32(_mm512_min_epi32(v, _mm512_set1_epi32(127)), _mm512_set1_epi32(-127));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(out + d), _mm512_cvtepi32_epi8(v));
        norms = _mm512_add_epi32(norms, _mm512_mullo_epi32(v, v));
        sums = _mm512_add_epi32(sums, v);
        const __m512 r = _mm512_fnmadd_ps(steps, _mm512_cvtepi32_ps(v), x);
        residuals = _mm512_fmadd_ps(r, r, residuals);
        lengths = _mm512_fmadd_ps(x, x, lengths);
    }
    *norm = _mm512_reduce_add_epi32(norms);
    *sum = _mm512_reduce_add_epi32(sums);
    // Up to 64 rounded sums of a lane and 4 of lanes: each root is within 1e-5 of its value.
    // Centring rounds each component by at most one unit, r by another; 1e-17 covers squares that
    // vanished.
    const auto root = [](__m512 squares) {
        return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(_mm512_reduce_add_ps(squares))));
    };
    return (root(residuals) + 2.5e-7f * root(lengths)) * (1.0f + 2e-5f) + 1e-17f;
}

const CoresetKernels coreset_avx512vnni{kHeight,
                                        nothing,
                                        nothing,
                                        tile,
                                        coreset_scan_avx512,
                                        coreset_largest_avx512,
                                        coreset_quantize_avx512};

}  // namespace pyad
#endif
