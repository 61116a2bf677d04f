#ifdef PYAD_X86_LEVELS
#include "avx512.h"
#include "screen_tile.h"

namespace pyad {
namespace {

constexpr int kHeight = 12;

// The test of quantized_rows.h for 12 queries and 32 rows: vpdpbusd multiplies 64 pairs of bytes at
// once.
void quantized_tile(const QuantizedGroup& group, const QuantizedPanel& panel, int64_t quads,
                    uint32_t* hits, float* bounds) {
    __m512i left[kHeight], right[kHeight];
#pragma GCC unroll 16
    for (int r = 0; r < kHeight; ++r) left[r] = right[r] = _mm512_setzero_si512();
    const uint8_t* rows = panel.values;
    const int8_t* queries = group.values;
    for (int64_t quad = 0; quad < quads; ++quad, rows += kPanel * 4, queries += kHeight * 4) {
        const __m512i r0 = _mm512_loadu_si512(rows), r1 = _mm512_loadu_si512(rows + 64);
#pragma GCC unroll 16
        for (int r = 0; r < kHeight; ++r) {
            int bytes;
            __builtin_memcpy(&bytes, queries + r * 4, 4);
            const __m512i q = _mm512_set1_epi32(bytes);
            left[r] = _mm512_dpbusd_epi32(left[r], r0, q);
            right[r] = _mm512_dpbusd_epi32(right[r], r1, q);
        }
    }
    // Through memory, so that the loop above keeps its sums in registers (GCC 12 would not
    // otherwise).
    alignas(64) int32_t dots[kHeight * kPanel];
#pragma GCC unroll 16
    for (int r = 0; r < kHeight; ++r) {
        _mm512_store_si512(dots + r * kPanel, left[r]);
        _mm512_store_si512(dots + r * kPanel + 16, right[r]);
    }
    const __m512 scales0 = _mm512_loadu_ps(panel.scales),
                 scales1 = _mm512_loadu_ps(panel.scales + 16);
    const __m512 norms0 = _mm512_loadu_ps(panel.norms), norms1 = _mm512_loadu_ps(panel.norms + 16);
    const __m512 reach0 = _mm512_loadu_ps(panel.residuals),
                 reach1 = _mm512_loadu_ps(panel.residuals + 16);
    for (int r = 0; r < kHeight; ++r) {
        const __m512i correction = _mm512_set1_epi32(group.corrections[r]);
        const __m512 scale = _mm512_set1_ps(group.scales[r]),
                     reach = _mm512_set1_ps(group.reaches[r]);
        const __m512 threshold = _mm512_set1_ps(group.thresholds[r]);
        const auto distance = [&](const int32_t* dot, __m512 scales, __m512 norms) {
            const __m512i exact = _mm512_sub_epi32(_mm512_load_si512(dot), correction);
            const __m512 products = _mm512_cvtepi32_ps(exact);
            return _mm512_fnmadd_ps(_mm512_mul_ps(products, scales), scale, norms);
        };
        const __m512 d0 = distance(dots + r * kPanel, scales0, norms0),
                     d1 = distance(dots + r * kPanel + 16, scales1, norms1);
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

Quantized quantize(const float* row, const float* mean, int64_t D, int8_t* values) {
    const auto centred = [&](int64_t d) {
        const __mmask16 lanes = D - d >= 16 ? 0xffff : static_cast<__mmask16>((1u << (D - d)) - 1);
        return _mm512_sub_ps(_mm512_maskz_loadu_ps(lanes, row + d),
                             _mm512_maskz_loadu_ps(lanes, mean + d));
    };
    Quantized result;
    __m512 largest = _mm512_setzero_ps();
    for (int64_t d = 0; d < D; d += 16) largest = _mm512_max_ps(largest, _mm512_abs_ps(centred(d)));
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
        const __m512 x = centred(d);
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
    // Up to 64 rounded sums of a lane and 4 of lanes: each root is within 1e-5 of its value.
    // Centring rounds each component by at most one unit; 1e-18 covers squares that were flushed to
    // zero.
    const auto root = [](__m512 squares) {
        return static_cast<double>(
            _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(_mm512_reduce_add_ps(squares)))));
    };
    result.residual = (root(residuals) + 1.2e-7 * root(lengths)) * (1.0 + 1e-5) + 1e-17;
    return result;
}

}  // namespace

const ScreenKernels screen_avx512vnni{kHeight, tile_of<Avx512, kHeight>, canonical_of<Avx512>,
                                      quantize, quantized_tile};

}  // namespace pyad
#endif
