#if defined(PYAD_X86_LEVELS) && defined(PYAD_BF16_LEVEL)
#include "avx512.h"
#include "convolution_forms.h"

namespace pyad {
namespace {

struct Vector : Avx512 {
    // The second where they do not compare: _mm512_max_ps and _mm512_min_ps do so.
    static type larger(type a, type b) { return _mm512_max_ps(a, b); }
    static void store_packed(float* p, type v) {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), (__m256i)_mm512_cvtneps_pbh(v));
    }
};

// Factors are pairs of bfloat16, sums are floats.
struct Pairs : Vector {
    static type multiply_add(type a, type b, type sum) {
        return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
    }
};

void pack(const float* from, int64_t n, float* to) {
    int64_t i = 0;
    for (; i + kBlock <= n; i += kBlock) Vector::store_packed(to + i / 2, Vector::load(from + i));
    if (i == n) return;
    const auto valid = static_cast<__mmask16>((1u << (n - i)) - 1);
    const auto halves = static_cast<__mmask16>((1u << ((n - i + 1) / 2 * 2)) - 1);
    const __m512 last = _mm512_maskz_loadu_ps(valid, from + i);
    _mm256_mask_storeu_epi16(to + i / 2, halves, (__m256i)_mm512_cvtneps_pbh(last));
}

using F = F2<Vector>;

}  // namespace

const ConvolutionKernels convolution_avx512bf16{2,
                                                F::packed,
                                                F::tile,
                                                multiply_of<Pairs, 14, 2>,
                                                convolve_of<Pairs, 14, 2>,
                                                pack,
                                                enter_tile_of<Vector, F>,
                                                leave_tile_of<Vector, F>,
                                                nullptr,  // what has no products is of the level
                                                nullptr,
                                                nullptr};

}  // namespace pyad
#endif
