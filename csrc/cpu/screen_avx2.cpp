#ifdef PYAD_X86_LEVELS
#include <immintrin.h>

#include "screen_tile.h"

namespace pyad {
namespace {

struct Avx2 {
    static constexpr int width = 8;
    using type = __m256;
    static type zero() { return _mm256_setzero_ps(); }
    static type load(const float* p) { return _mm256_loadu_ps(p); }
    static void store(float* p, type v) { _mm256_storeu_ps(p, v); }
    static type broadcast(float x) { return _mm256_set1_ps(x); }
    static type add(type a, type b) { return _mm256_add_ps(a, b); }
    static type subtract(type a, type b) { return _mm256_sub_ps(a, b); }
    static type multiply(type a, type b) { return _mm256_mul_ps(a, b); }
    static type multiply_add(type a, type b, type c) { return _mm256_fmadd_ps(a, b, c); }
    static uint32_t less_equal(type a, type b) {
        return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_LE_OQ)));
    }
};

}  // namespace

const ScreenKernels screen_avx2{6, tile_of<Avx2, 6>, canonical_of<Avx2>, nullptr, nullptr};

}  // namespace pyad
#endif
