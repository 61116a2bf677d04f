// The vector type of the AVX-512 levels, for density_absorb.h.
#pragma once

#include <immintrin.h>

#include "density_absorb.h"

namespace pyad {
namespace {

// Masks of all ones: GCC 12 warns of the plain forms.
struct DensityAvx512 : DensityLanes<16> {
    static constexpr int width = 16;
    static ints broadcast_pair(const int16_t* pair) {
        int32_t both;
        __builtin_memcpy(&both, pair, sizeof(both));
        return reinterpret_cast<ints>(_mm512_set1_epi32(both));
    }
    static ints dot(ints sum, ints a, ints b) {
        const auto x = reinterpret_cast<__m512i>(a), y = reinterpret_cast<__m512i>(b);
#ifdef __AVX512VNNI__
        return reinterpret_cast<ints>(_mm512_dpwssd_epi32(reinterpret_cast<__m512i>(sum), x, y));
#else
        return sum + reinterpret_cast<ints>(_mm512_madd_epi16(x, y));
#endif
    }
    static constexpr bool transposes = true;
    static void transpose(const void* from, int64_t from_stride, void* to, int64_t to_stride) {
        __m512i a[16], b[16];
#pragma GCC unroll 16
        for (int i = 0; i < 16; ++i)
            a[i] = _mm512_loadu_si512(static_cast<const char*>(from) + i * from_stride);
#pragma GCC unroll 8
        for (int i = 0; i < 16; i += 2) {
            b[i] = _mm512_maskz_unpacklo_epi32(0xffff, a[i], a[i + 1]);
            b[i + 1] = _mm512_maskz_unpackhi_epi32(0xffff, a[i], a[i + 1]);
        }
#pragma GCC unroll 4
        for (int i = 0; i < 16; i += 4) {
            a[i] = _mm512_maskz_unpacklo_epi64(0xff, b[i], b[i + 2]);
            a[i + 1] = _mm512_maskz_unpackhi_epi64(0xff, b[i], b[i + 2]);
            a[i + 2] = _mm512_maskz_unpacklo_epi64(0xff, b[i + 1], b[i + 3]);
            a[i + 3] = _mm512_maskz_unpackhi_epi64(0xff, b[i + 1], b[i + 3]);
        }
        // a[4 i + j]: of rows 4 i to 4 i + 3, column j of each quarter.
#pragma GCC unroll 4
        for (int j = 0; j < 4; ++j) {
            const __m512i low = _mm512_maskz_shuffle_i32x4(0xffff, a[j], a[4 + j], 0x88);
            const __m512i low2 = _mm512_maskz_shuffle_i32x4(0xffff, a[j], a[4 + j], 0xdd);
            const __m512i high = _mm512_maskz_shuffle_i32x4(0xffff, a[8 + j], a[12 + j], 0x88);
            const __m512i high2 = _mm512_maskz_shuffle_i32x4(0xffff, a[8 + j], a[12 + j], 0xdd);
            b[j] = _mm512_maskz_shuffle_i32x4(0xffff, low, high, 0x88);
            b[8 + j] = _mm512_maskz_shuffle_i32x4(0xffff, low, high, 0xdd);
            b[4 + j] = _mm512_maskz_shuffle_i32x4(0xffff, low2, high2, 0x88);
            b[12 + j] = _mm512_maskz_shuffle_i32x4(0xffff, low2, high2, 0xdd);
        }
#pragma GCC unroll 16
        for (int i = 0; i < 16; ++i)
            _mm512_storeu_si512(static_cast<char*>(to) + i * to_stride, b[i]);
    }
    static floats maximum(floats a, floats b) { return _mm512_maskz_max_ps(0xffff, a, b); }
    static bool any_above(floats a, float bar) {
        __mmask16 mask = _mm512_cmp_ps_mask(a, _mm512_set1_ps(bar), _CMP_GT_OQ);
        asm("" : "+r"(mask));  // as in avx512.h: GCC 12 may widen a spilled mask with garbage
        return mask != 0;
    }
};

}  // namespace
}  // namespace pyad
