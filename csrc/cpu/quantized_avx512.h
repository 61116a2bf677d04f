// What the levels with AVX-512 share of the screen in few bits: making int8 vectors, and the test.
#pragma once

#include "avx512.h"
#include "screen.h"

namespace pyad {
namespace {

inline double root_of_sum(__m512 squares) {
    return static_cast<double>(
        _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(_mm512_reduce_add_ps(squares)))));
}

inline __mmask16 lanes_left(int64_t n) {
    return n >= 16 ? 0xffff : static_cast<__mmask16>((1u << n) - 1);
}

inline __m512 centred(const float* row, const float* mean, int64_t D, int64_t d) {
    const __mmask16 lanes = lanes_left(D - d);
    return _mm512_sub_ps(_mm512_maskz_loadu_ps(lanes, row + d),
                         _mm512_maskz_loadu_ps(lanes, mean + d));
}

// Up to 64 rounded sums of a lane and 4 of lanes: each root is within 1e-5 of its value.
// Centring rounds each component by at most one unit; the constant covers what was flushed to zero.
inline double residual_of(__m512 residuals, __m512 lengths, double flushed) {
    return (root_of_sum(residuals) + 1.2e-7 * root_of_sum(lengths)) * (1.0 + 1e-5) + flushed;
}

inline Quantized quantize_int8(const float* row, const float* mean, int64_t D, int8_t* values) {
    Quantized result;
    __m512 largest = _mm512_setzero_ps();
    for (int64_t d = 0; d < D; d += 16)
        largest = _mm512_max_ps(largest, _mm512_abs_ps(centred(row, mean, D, d)));
    result.largest = _mm512_reduce_max_ps(largest);
    if (!(result.largest < kQuantizedLimit)) return result;
    // Vectors too small for a scale keep v = 0: their residual is then all of them.
    const bool usable = result.largest > 1e-28f;
    result.scale = usable ? result.largest / 127.0f : 0.0f;
    const __m512 scale = _mm512_set1_ps(result.scale);
    const __m512 inverse = _mm512_set1_ps(usable ? 127.0f / result.largest : 0.0f);
    __m512 residuals = _mm512_setzero_ps(), lengths = _mm512_setzero_ps();
    __m512i sums = _mm512_setzero_si512(), squares = _mm512_setzero_si512();
    for (int64_t d = 0; d < D; d += 16) {
        const __m512 x = centred(row, mean, D, d);
        // Whatever this rounds to, the residual is what it then is, so that the bound holds.
        __m512i v = _mm512_cvtps_epi32(_mm512_mul_ps(x, inverse));
        v = _mm512_max_epi32(_mm512_min_epi32(v, _mm512_set1_epi32(127)), _mm512_set1_epi32(-127));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(values + d), _mm512_cvtepi32_epi8(v));
        sums = _mm512_add_epi32(sums, v);
        squares = _mm512_add_epi32(squares, _mm512_mullo_epi32(v, v));
        const __m512 r = _mm512_fnmadd_ps(scale, _mm512_cvtepi32_ps(v), x);
        residuals = _mm512_fmadd_ps(r, r, residuals);
        lengths = _mm512_fmadd_ps(x, x, lengths);
    }
    result.sum = _mm512_reduce_add_epi32(sums);
    result.norm =
        static_cast<double>(result.scale) * result.scale * _mm512_reduce_add_epi32(squares);
    result.residual = residual_of(residuals, lengths, 1e-17);
    return result;
}

inline __m512 as_float(__m512i dots, int32_t correction) {
    return _mm512_cvtepi32_ps(_mm512_sub_epi32(dots, _mm512_set1_epi32(correction)));
}
inline __m512 as_float(__m512 dots, int32_t) { return dots; }
inline __m512i load_dots(const int32_t* p) { return _mm512_load_si512(p); }
inline __m512 load_dots(const float* p) { return _mm512_load_ps(p); }

// Bounds of `height` queries and 32 rows as levels; dots as below.
template <int height, typename T>
void quantized_estimate(const T* dots, const QuantizedGroup& group, const QuantizedPanel& panel,
                        const Levels& levels, uint8_t* estimates, int64_t step) {
    const __m512 scales0 = _mm512_loadu_ps(panel.scales),
                 scales1 = _mm512_loadu_ps(panel.scales + 16);
    const __m512 norms0 = _mm512_loadu_ps(panel.norms), norms1 = _mm512_loadu_ps(panel.norms + 16);
    for (int r = 0; r < height; ++r) {
        const int32_t correction = group.corrections[r];
        const __m512 scale = _mm512_set1_ps(group.scales[r]);
        const __m512 slope = _mm512_set1_ps(levels.slopes[r]),
                     offset = _mm512_set1_ps(levels.offsets[r]);
        const __m512 dot0 = as_float(load_dots(dots + r * kPanel), correction);
        const __m512 dot1 = as_float(load_dots(dots + r * kPanel + 16), correction);
        const __m512 d0 = _mm512_fnmadd_ps(_mm512_mul_ps(dot0, scales0), scale, norms0);
        const __m512 d1 = _mm512_fnmadd_ps(_mm512_mul_ps(dot1, scales1), scale, norms1);
        uint8_t* out = estimates + r * step;
        Avx512::store_bytes(out, _mm512_fmadd_ps(d0, slope, offset));
        Avx512::store_bytes(out + 16, _mm512_fmadd_ps(d1, slope, offset));
    }
}

// The test of quantized_rows.h for `height` queries and 32 rows; dots (height, 32), aligned.
template <int height, typename T>
void quantized_test(const T* dots, const QuantizedGroup& group, const QuantizedPanel& panel,
                    uint32_t* hits, float* bounds) {
    const __m512 scales0 = _mm512_loadu_ps(panel.scales),
                 scales1 = _mm512_loadu_ps(panel.scales + 16);
    const __m512 norms0 = _mm512_loadu_ps(panel.norms), norms1 = _mm512_loadu_ps(panel.norms + 16);
    const __m512 reach0 = _mm512_loadu_ps(panel.residuals),
                 reach1 = _mm512_loadu_ps(panel.residuals + 16);
    for (int r = 0; r < height; ++r) {
        const int32_t correction = group.corrections[r];
        const __m512 scale = _mm512_set1_ps(group.scales[r]),
                     reach = _mm512_set1_ps(group.reaches[r]);
        const __m512 threshold = _mm512_set1_ps(group.thresholds[r]);
        const __m512 dot0 = as_float(load_dots(dots + r * kPanel), correction);
        const __m512 dot1 = as_float(load_dots(dots + r * kPanel + 16), correction);
        const __m512 d0 = _mm512_fnmadd_ps(_mm512_mul_ps(dot0, scales0), scale, norms0);
        const __m512 d1 = _mm512_fnmadd_ps(_mm512_mul_ps(dot1, scales1), scale, norms1);
        const uint32_t mask0 =
            _mm512_cmp_ps_mask(_mm512_fnmadd_ps(reach0, reach, d0), threshold, _CMP_LE_OQ);
        const uint32_t mask1 =
            _mm512_cmp_ps_mask(_mm512_fnmadd_ps(reach1, reach, d1), threshold, _CMP_LE_OQ);
        hits[r] = mask0 | mask1 << 16;
        if (hits[r]) {
            _mm512_storeu_ps(bounds + r * kPanel, d0);
            _mm512_storeu_ps(bounds + r * kPanel + 16, d1);
        }
    }
}

}  // namespace
}  // namespace pyad
