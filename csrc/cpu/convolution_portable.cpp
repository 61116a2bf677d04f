#include "convolution_forms.h"
#include "pyad/level.h"

namespace pyad {
namespace {

// Four floats as a vector of the compiler (SSE2 or NEON).
struct Vector {
    static constexpr int width = 4;
    typedef float type __attribute__((vector_size(16)));
    static type zero() { return type{}; }
    static type load(const float* p) {
        type v;
        __builtin_memcpy(&v, p, sizeof(v));
        return v;
    }
    static void store(float* p, type v) { __builtin_memcpy(p, &v, sizeof(v)); }
    static type broadcast(float x) { return type{x, x, x, x}; }
    static type add(type a, type b) { return a + b; }
    static type subtract(type a, type b) { return a - b; }
    static type multiply(type a, type b) { return a * b; }
    static type multiply_add(type a, type b, type c) { return a * b + c; }
    static type larger(type a, type b) { return a > b ? a : b; }
    static type smaller(type a, type b) { return a < b ? a : b; }
    static type larger_or_nan(type a, type b) { return a != a ? a : larger(a, b); }
};

#ifdef __aarch64__
constexpr int kRows = 6;  // 24 of 32 registers hold sums
#else
constexpr int kRows = 2;  // 8 of 16
#endif

}  // namespace

const ConvolutionKernels convolution_portable = convolution_of<Vector, kRows, 4>();

const ConvolutionKernels& convolution_kernels() {
#ifdef PYAD_X86_LEVELS
    const Level level = active_level();
    if (level >= Level::avx512) return convolution_avx512;
    if (level >= Level::avx2) return convolution_avx2;
#endif
    return convolution_portable;
}

const ConvolutionKernels* bf16_convolution_kernels() {
#ifdef PYAD_BF16_LEVEL
    if (has_bf16()) return &convolution_avx512bf16;
#endif
    return nullptr;
}

}  // namespace pyad
