// The vector type of the 64-bit Arm levels, for screen_tile.h.
#pragma once

#include <arm_neon.h>

#include <cstdint>

#include "screen_tile.h"

namespace pyad {
namespace {

struct Neon {
    static constexpr int width = 4;
    using type = float32x4_t;
    static type zero() { return vdupq_n_f32(0.0f); }
    static type load(const float* p) { return vld1q_f32(p); }
    static void store(float* p, type v) { vst1q_f32(p, v); }
    static type broadcast(float x) { return vdupq_n_f32(x); }
    static type add(type a, type b) { return vaddq_f32(a, b); }
    static type subtract(type a, type b) { return vsubq_f32(a, b); }
    static type multiply(type a, type b) { return vmulq_f32(a, b); }
    static type smaller(type a, type b) { return vminq_f32(a, b); }
    static type multiply_add(type a, type b, type c) { return vfmaq_f32(c, a, b); }
    // Four whole numbers, less one.
    static type from_whole(const int32_t* p, int32_t less) {
        return vcvtq_f32_s32(vsubq_s32(vld1q_s32(p), vdupq_n_s32(less)));
    }
    // Rounded towards zero and clamped to 0 ... 255: all three conversions saturate.
    static void store_bytes(uint8_t* p, type v) {
        const uint16x4_t words = vqmovn_u32(vcvtq_u32_f32(v));
        const uint32x2_t bytes = vreinterpret_u32_u8(vqmovn_u16(vcombine_u16(words, words)));
        const uint32_t four = vget_lane_u32(bytes, 0);
        __builtin_memcpy(p, &four, sizeof(four));
    }
    // Bit j set where the j-th of 32 bytes is at most `highest`.
    static uint32_t within(const uint8_t* p, uint8_t highest) {
        const uint8x16_t bar = vdupq_n_u8(highest);
        const uint8x16_t low = vcleq_u8(vld1q_u8(p), bar), high = vcleq_u8(vld1q_u8(p + 16), bar);
        if (vmaxvq_u8(vorrq_u8(low, high)) == 0) return 0;  // nearly always
        const uint8x8_t one = {1, 2, 4, 8, 16, 32, 64, 128};
        const uint8x16_t bits = vcombine_u8(one, one);
        // Three pairwise sums leave the bits of eight bytes in one.
        uint8x16_t sums = vpaddq_u8(vandq_u8(low, bits), vandq_u8(high, bits));
        sums = vpaddq_u8(sums, sums);
        sums = vpaddq_u8(sums, sums);
        return vgetq_lane_u32(vreinterpretq_u32_u8(sums), 0);
    }
    static uint32_t less_equal(type a, type b) {
        const uint32x4_t bits = {1, 2, 4, 8};
        return vaddvq_u32(vandq_u32(vcleq_f32(a, b), bits));
    }
};

constexpr int kNeonHeight = 12;  // 24 of the 32 registers hold sums

// Four queries come in one load and are multiplied lane by lane; the general loop would spend one
// more instruction per query and vector on copies.
template <>
inline void products_of<Neon, kNeonHeight>(const float* group, const float* panel, int64_t D,
                                           int column, float* products) {
    float32x4_t left[kNeonHeight], right[kNeonHeight];
#pragma GCC unroll 16
    for (int r = 0; r < kNeonHeight; ++r) left[r] = right[r] = vdupq_n_f32(0.0f);
    const float* a = group;
    const float* b = panel + column;
    for (int64_t d = 0; d < D; ++d, a += kNeonHeight, b += kPanel) {
        const float32x4_t b0 = vld1q_f32(b), b1 = vld1q_f32(b + 4);
#pragma GCC unroll 4
        for (int r = 0; r < kNeonHeight; r += 4) {
            const float32x4_t q = vld1q_f32(a + r);
            left[r] = vfmaq_laneq_f32(left[r], b0, q, 0);
            right[r] = vfmaq_laneq_f32(right[r], b1, q, 0);
            left[r + 1] = vfmaq_laneq_f32(left[r + 1], b0, q, 1);
            right[r + 1] = vfmaq_laneq_f32(right[r + 1], b1, q, 1);
            left[r + 2] = vfmaq_laneq_f32(left[r + 2], b0, q, 2);
            right[r + 2] = vfmaq_laneq_f32(right[r + 2], b1, q, 2);
            left[r + 3] = vfmaq_laneq_f32(left[r + 3], b0, q, 3);
            right[r + 3] = vfmaq_laneq_f32(right[r + 3], b1, q, 3);
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < kNeonHeight; ++r) {
        vst1q_f32(products + 8 * r, left[r]);
        vst1q_f32(products + 8 * r + 4, right[r]);
    }
}

}  // namespace
}  // namespace pyad
