#include "pyad/level.h"
#include "resize_tile.h"

namespace pyad {
namespace {

// Four floats that compilers map to SSE2 or NEON.
struct Four {
    static constexpr int width = 4;
    typedef float type __attribute__((vector_size(16)));
    static type zero() { return type{0, 0, 0, 0}; }
    static type load(const float* p) {
        type v;
        __builtin_memcpy(&v, p, sizeof v);
        return v;
    }
    static void store(float* p, type v) { __builtin_memcpy(p, &v, sizeof v); }
    static type broadcast(float x) { return type{x, x, x, x}; }
    static type add(type a, type b) { return a + b; }
    static type multiply(type a, type b) { return a * b; }
};

// Loops that compilers make vector code of (whole vectors of bytes become floats). Rows are taken
// two at a time to halve the traffic to `sum`; the order of additions stays that of the rows.
void sum_rows_portable(const uint8_t* const* rows, const float* weights, int64_t count, int64_t n,
                       float* __restrict sum) {
    const uint8_t* __restrict first = rows[0];
    const float w = weights[0];
    for (int64_t i = 0; i < n; ++i) sum[i] = w * static_cast<float>(static_cast<int>(first[i]));
    int64_t t = 1;
    for (; t + 1 < count; t += 2) {
        const uint8_t* __restrict a = rows[t];
        const uint8_t* __restrict b = rows[t + 1];
        const float wa = weights[t], wb = weights[t + 1];
        for (int64_t i = 0; i < n; ++i)
            sum[i] = (sum[i] + wa * static_cast<float>(static_cast<int>(a[i]))) +
                     wb * static_cast<float>(static_cast<int>(b[i]));
    }
    if (t < count) {
        const uint8_t* __restrict a = rows[t];
        const float wa = weights[t];
        for (int64_t i = 0; i < n; ++i) sum[i] += wa * static_cast<float>(static_cast<int>(a[i]));
    }
}

}  // namespace

const ResizeKernels resize_portable{sum_rows_portable, sum_columns<Four>, nullptr};

const ResizeKernels& resize_kernels() {
#ifdef PYAD_X86_LEVELS
    const Level level = active_level();
    if (level >= Level::avx512) return resize_avx512;
    if (level >= Level::avx2) return resize_avx2;
#endif
    return resize_portable;
}

}  // namespace pyad
