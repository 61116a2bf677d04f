#ifdef PYAD_ARM_LEVELS
#include "neon.h"
#include "quantized_tile.h"

namespace pyad {
namespace {

// sdot multiplies 16 pairs of bytes at once and adds them up by fours; a query's four bytes are one
// lane of a vector.
inline void dots_of(const QuantizedGroup& group, const QuantizedPanel& panel, int64_t words,
                    int32_t* dots) {
    for (int column = 0; column < kPanel; column += 8) {
        int32x4_t left[kNeonHeight], right[kNeonHeight];
#pragma GCC unroll 16
        for (int r = 0; r < kNeonHeight; ++r) left[r] = right[r] = vdupq_n_s32(0);
        const int8_t* a = group.values;
        const int8_t* b = reinterpret_cast<const int8_t*>(panel.values) + column * 4;
        for (int64_t word = 0; word < words; ++word, a += kNeonHeight * 4, b += kPanel * 4) {
            const int8x16_t b0 = vld1q_s8(b), b1 = vld1q_s8(b + 16);
#pragma GCC unroll 4
            for (int r = 0; r < kNeonHeight; r += 4) {
                const int8x16_t q = vld1q_s8(a + r * 4);
                left[r] = vdotq_laneq_s32(left[r], b0, q, 0);
                right[r] = vdotq_laneq_s32(right[r], b1, q, 0);
                left[r + 1] = vdotq_laneq_s32(left[r + 1], b0, q, 1);
                right[r + 1] = vdotq_laneq_s32(right[r + 1], b1, q, 1);
                left[r + 2] = vdotq_laneq_s32(left[r + 2], b0, q, 2);
                right[r + 2] = vdotq_laneq_s32(right[r + 2], b1, q, 2);
                left[r + 3] = vdotq_laneq_s32(left[r + 3], b0, q, 3);
                right[r + 3] = vdotq_laneq_s32(right[r + 3], b1, q, 3);
            }
        }
        // Through memory, so that the loop above keeps its sums in registers.
#pragma GCC unroll 16
        for (int r = 0; r < kNeonHeight; ++r) {
            vst1q_s32(dots + r * kPanel + column, left[r]);
            vst1q_s32(dots + r * kPanel + column + 4, right[r]);
        }
    }
}

void estimate(const QuantizedGroup& group, const QuantizedPanel& panel, int64_t words,
              const Levels& levels, uint8_t* estimates, int64_t step) {
    int32_t dots[kNeonHeight * kPanel];
    dots_of(group, panel, words, dots);
    quantized_estimate<Neon, kNeonHeight>(dots, group, panel, levels, estimates, step);
}

void tile(const QuantizedGroup& group, const QuantizedPanel& panel, int64_t words, uint32_t* hits,
          float* bounds) {
    int32_t dots[kNeonHeight * kPanel];
    dots_of(group, panel, words, dots);
    quantized_test<Neon, kNeonHeight>(dots, group, panel, hits, bounds);
}

const QuantizedKernels int8{kNeonHeight,      1,        0,    1,       false,   0.0,
                            quantize_int8<4>, estimate, tile, nullptr, nullptr, nullptr};

}  // namespace

const ScreenKernels screen_neondot = screen_of<Neon, kNeonHeight>(&int8, nullptr);

}  // namespace pyad
#endif
