#ifdef PYAD_X86_LEVELS
#include <immintrin.h>

#include "density_tile.h"

namespace pyad {
namespace {

struct Avx2 : DensityLanes<8> {
    static constexpr int width = 8;
    static ints broadcast_pair(const int16_t* pair) {
        int32_t both;
        __builtin_memcpy(&both, pair, sizeof(both));
        return reinterpret_cast<ints>(_mm256_set1_epi32(both));
    }
    static ints dot(ints sum, ints a, ints b) {
        return sum + reinterpret_cast<ints>(_mm256_madd_epi16(reinterpret_cast<__m256i>(a),
                                                              reinterpret_cast<__m256i>(b)));
    }
    static floats maximum(floats a, floats b) { return _mm256_max_ps(a, b); }
    static bool any_above(floats a, float bar) {
        return _mm256_movemask_ps(_mm256_cmp_ps(a, _mm256_set1_ps(bar), _CMP_GT_OQ)) != 0;
    }
};

}  // namespace

const DensityKernels density_avx2 = density_of<Avx2, 6>();

}  // namespace pyad
#endif
