// Features as a network on bfloat16 leaves them, channels last, as rows of single channels:
//
//   out[c * plane + x] = in[x * C + c]      0 <= c < 8, 0 <= x < n
//
// in (n, C) bfloat16 as 16 bits each, out float32. Exact, every bit pattern.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace pyad {
namespace {

constexpr int64_t kTurned = 8, kTurnedPixels = 4;  // channels and pixels turned at once

inline float widened(uint16_t value) {
    const uint32_t bits = uint32_t{value} << 16;
    float out;
    std::memcpy(&out, &bits, sizeof(out));
    return out;
}

// The first `lanes` channels only; not even read are those beyond.
inline void turn_some(const uint16_t* in, int64_t C, int64_t n, int64_t lanes, int64_t plane,
                      float* out) {
    for (int64_t c = 0; c < lanes; ++c)
        for (int64_t x = 0; x < n; ++x) out[c * plane + x] = widened(in[x * C + c]);
}

inline void turn_four(const uint16_t* in, int64_t C, int64_t plane, float* out) {
#if defined(__SSE2__)
    const __m128i zero = _mm_setzero_si128();
    __m128i pixels[kTurnedPixels];
    for (int64_t x = 0; x < kTurnedPixels; ++x)
        pixels[x] = _mm_loadu_si128(reinterpret_cast<const __m128i*>(in + x * C));
    const auto four = [&](__m128 a, __m128 b, __m128 c, __m128 d, float* to) {
        _MM_TRANSPOSE4_PS(a, b, c, d);
        _mm_storeu_ps(to, a);
        _mm_storeu_ps(to + plane, b);
        _mm_storeu_ps(to + 2 * plane, c);
        _mm_storeu_ps(to + 3 * plane, d);
    };
    const auto low = [&](__m128i v) { return _mm_castsi128_ps(_mm_unpacklo_epi16(zero, v)); };
    const auto high = [&](__m128i v) { return _mm_castsi128_ps(_mm_unpackhi_epi16(zero, v)); };
    four(low(pixels[0]), low(pixels[1]), low(pixels[2]), low(pixels[3]), out);
    four(high(pixels[0]), high(pixels[1]), high(pixels[2]), high(pixels[3]), out + 4 * plane);
#elif defined(__aarch64__)
    uint16x8_t pixels[kTurnedPixels];
    for (int64_t x = 0; x < kTurnedPixels; ++x) pixels[x] = vld1q_u16(in + x * C);
    const auto four = [&](float32x4_t a, float32x4_t b, float32x4_t c, float32x4_t d, float* to) {
        const float32x4_t ac0 = vzip1q_f32(a, c), ac1 = vzip2q_f32(a, c);
        const float32x4_t bd0 = vzip1q_f32(b, d), bd1 = vzip2q_f32(b, d);
        vst1q_f32(to, vzip1q_f32(ac0, bd0));
        vst1q_f32(to + plane, vzip2q_f32(ac0, bd0));
        vst1q_f32(to + 2 * plane, vzip1q_f32(ac1, bd1));
        vst1q_f32(to + 3 * plane, vzip2q_f32(ac1, bd1));
    };
    const auto low = [](uint16x8_t v) {
        return vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(v), 16));
    };
    const auto high = [](uint16x8_t v) {
        return vreinterpretq_f32_u32(vshll_n_u16(vget_high_u16(v), 16));
    };
    four(low(pixels[0]), low(pixels[1]), low(pixels[2]), low(pixels[3]), out);
    four(high(pixels[0]), high(pixels[1]), high(pixels[2]), high(pixels[3]), out + 4 * plane);
#else
    turn_some(in, C, kTurnedPixels, kTurned, plane, out);
#endif
}

inline void turn(const uint16_t* in, int64_t C, int64_t n, int64_t lanes, int64_t plane,
                 float* out) {
    int64_t x = 0;
    if (lanes == kTurned)
        for (; x + kTurnedPixels <= n; x += kTurnedPixels) turn_four(in + x * C, C, plane, out + x);
    turn_some(in + x * C, C, n - x, lanes, plane, out + x);
}

}  // namespace
}  // namespace pyad
