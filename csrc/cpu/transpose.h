// Planes of dims to dims last:
//   out[(y * w + x) * stride + d] (= or +=) planes[d * plane + y * (w + 2) + x]
#pragma once

#include <cstdint>

#include "weighted_sum.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace pyad {
namespace {

inline void transpose(const float* __restrict planes, int64_t plane, int64_t rows, int64_t w,
                      int64_t lanes, bool accumulate, int64_t stride, float* __restrict out) {
    for (int64_t y = 0; y < rows; ++y, out += w * stride) {
        const float* row = planes + y * (w + 2);
        int64_t x = 0;
#if defined(__SSE2__)
        // Part of every x86-64: four by four in registers.
        if (lanes == kCell && !accumulate)
            for (; x + 4 <= w; x += 4)
                for (int64_t d = 0; d < kCell; d += 4) {
                    const float* from = row + d * plane + x;
                    __m128 a = _mm_loadu_ps(from), b = _mm_loadu_ps(from + plane);
                    __m128 c = _mm_loadu_ps(from + 2 * plane), e = _mm_loadu_ps(from + 3 * plane);
                    _MM_TRANSPOSE4_PS(a, b, c, e);
                    float* to = out + x * stride + d;
                    _mm_storeu_ps(to, a);
                    _mm_storeu_ps(to + stride, b);
                    _mm_storeu_ps(to + 2 * stride, c);
                    _mm_storeu_ps(to + 3 * stride, e);
                }
#elif defined(__aarch64__)
        // Part of every 64-bit Arm: pairs of rows are interleaved, then pairs of pairs.
        if (lanes == kCell && !accumulate)
            for (; x + 4 <= w; x += 4)
                for (int64_t d = 0; d < kCell; d += 4) {
                    const float* from = row + d * plane + x;
                    const float32x4_t a = vld1q_f32(from), b = vld1q_f32(from + plane);
                    const float32x4_t c = vld1q_f32(from + 2 * plane);
                    const float32x4_t e = vld1q_f32(from + 3 * plane);
                    const float32x4_t ac0 = vzip1q_f32(a, c), ac1 = vzip2q_f32(a, c);
                    const float32x4_t be0 = vzip1q_f32(b, e), be1 = vzip2q_f32(b, e);
                    float* to = out + x * stride + d;
                    vst1q_f32(to, vzip1q_f32(ac0, be0));
                    vst1q_f32(to + stride, vzip2q_f32(ac0, be0));
                    vst1q_f32(to + 2 * stride, vzip1q_f32(ac1, be1));
                    vst1q_f32(to + 3 * stride, vzip2q_f32(ac1, be1));
                }
#endif
        for (; x < w; ++x)
            for (int64_t d = 0; d < lanes; ++d) {
                float& to = out[x * stride + d];
                const float value = row[d * plane + x];
                to = accumulate ? to + value : value;
            }
    }
}

}  // namespace
}  // namespace pyad
