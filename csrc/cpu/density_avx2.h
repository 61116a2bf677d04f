// The vector type of the AVX2 levels, for density_tile.h.
#pragma once

#include <immintrin.h>

#include "density_absorb.h"

namespace pyad {
namespace {

struct DensityAvx2 : DensityLanes<8> {
    static constexpr int width = 8;
    static ints broadcast_pair(const int16_t* pair) {
        int32_t both;
        __builtin_memcpy(&both, pair, sizeof(both));
        return reinterpret_cast<ints>(_mm256_set1_epi32(both));
    }
    static ints dot(ints sum, ints a, ints b) {
        const auto x = reinterpret_cast<__m256i>(a), y = reinterpret_cast<__m256i>(b);
#ifdef __AVXVNNI__
        return reinterpret_cast<ints>(
            _mm256_dpwssd_avx_epi32(reinterpret_cast<__m256i>(sum), x, y));
#else
        return sum + reinterpret_cast<ints>(_mm256_madd_epi16(x, y));
#endif
    }
    static floats maximum(floats a, floats b) { return _mm256_max_ps(a, b); }
    static bool any_above(floats a, float bar) {
        return _mm256_movemask_ps(_mm256_cmp_ps(a, _mm256_set1_ps(bar), _CMP_GT_OQ)) != 0;
    }
};

}  // namespace
}  // namespace pyad
