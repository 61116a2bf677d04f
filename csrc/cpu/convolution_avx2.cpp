#ifdef PYAD_X86_LEVELS
#include "avx2.h"
#include "convolution_forms.h"

namespace pyad {
namespace {

struct Vector : Avx2 {
    // The second where they do not compare: _mm256_max_ps and _mm256_min_ps do so.
    static type larger(type a, type b) { return _mm256_max_ps(a, b); }
    static type larger_or_nan(type a, type b) {
        return _mm256_blendv_ps(larger(a, b), a, _mm256_cmp_ps(a, a, _CMP_UNORD_Q));
    }
};

}  // namespace

// 12 of the 16 registers hold sums.
const ConvolutionKernels convolution_avx2 = convolution_of<Vector, 6, 2>();

}  // namespace pyad
#endif
