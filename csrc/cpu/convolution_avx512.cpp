#ifdef PYAD_X86_LEVELS
#include "avx512.h"
#include "convolution_forms.h"

namespace pyad {
namespace {

struct Vector : Avx512 {
    // The second where they do not compare: _mm512_max_ps and _mm512_min_ps do so.
    static type larger(type a, type b) { return _mm512_max_ps(a, b); }
    static type larger_or_nan(type a, type b) {
        return _mm512_mask_mov_ps(larger(a, b), _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q), a);
    }
};

}  // namespace

// 28 of the 32 registers hold sums.
const ConvolutionKernels convolution_avx512 = convolution_of<Vector, 14, 2>();

}  // namespace pyad
#endif
