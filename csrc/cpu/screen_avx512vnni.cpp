#ifdef PYAD_X86_LEVELS
#include "avx512.h"
#include "quantized_tile.h"
#include "screen_tile.h"

namespace pyad {
namespace {

constexpr int kHeight = 12;

// vpdpbusd multiplies 64 pairs of bytes at once, one of them unsigned: rows are stored with an
// offset.
inline void products(const QuantizedGroup& group, const QuantizedPanel& panel, int64_t words,
                     int32_t* dots) {
    __m512i left[kHeight], right[kHeight];
#pragma GCC unroll 16
    for (int r = 0; r < kHeight; ++r) left[r] = right[r] = _mm512_setzero_si512();
    const uint8_t* rows = panel.values;
    const int8_t* queries = group.values;
    for (int64_t word = 0; word < words; ++word, rows += kPanel * 4, queries += kHeight * 4) {
        const __m512i r0 = _mm512_loadu_si512(rows), r1 = _mm512_loadu_si512(rows + 64);
#pragma GCC unroll 16
        for (int r = 0; r < kHeight; ++r) {
            int bytes;
            __builtin_memcpy(&bytes, queries + r * 4, 4);
            const __m512i q = _mm512_set1_epi32(bytes);
            left[r] = _mm512_dpbusd_epi32(left[r], r0, q);
            right[r] = _mm512_dpbusd_epi32(right[r], r1, q);
        }
    }
    // Through memory, so that the loop above keeps its sums in registers (GCC 12 would not
    // otherwise).
#pragma GCC unroll 16
    for (int r = 0; r < kHeight; ++r) {
        _mm512_store_si512(dots + r * kPanel, left[r]);
        _mm512_store_si512(dots + r * kPanel + 16, right[r]);
    }
}

void estimate(const QuantizedGroup& group, const QuantizedPanel& panel, int64_t words,
              const Levels& levels, uint8_t* estimates, int64_t step) {
    alignas(64) int32_t dots[kHeight * kPanel];
    products(group, panel, words, dots);
    quantized_estimate<Avx512, kHeight>(dots, group, panel, levels, estimates, step);
}

void tile(const QuantizedGroup& group, const QuantizedPanel& panel, int64_t words, uint32_t* hits,
          float* bounds) {
    alignas(64) int32_t dots[kHeight * kPanel];
    products(group, panel, words, dots);
    quantized_test<Avx512, kHeight>(dots, group, panel, hits, bounds);
}

const QuantizedKernels int8{kHeight,           1,        128,  1,       false,   0.0,
                            quantize_int8<16>, estimate, tile, nullptr, nullptr, nullptr};

}  // namespace

const ScreenKernels screen_avx512vnni = screen_of<Avx512, kHeight>(&int8, nullptr);

}  // namespace pyad
#endif
