#ifdef PYAD_AVX_VNNI_LEVEL
#include "avx2.h"
#include "quantized_tile.h"
#include "screen_tile.h"

namespace pyad {
namespace {

constexpr int kHeight = 6;

// vpdpbusd multiplies 32 pairs of bytes at once, one of them unsigned: rows are stored with an
// offset. Sixteen registers hold 6 queries and half a panel.
void products(const QuantizedGroup& group, const QuantizedPanel& panel, int64_t words,
              int32_t* dots) {
    for (int column = 0; column < kPanel; column += 16) {
        __m256i left[kHeight], right[kHeight];
#pragma GCC unroll 16
        for (int r = 0; r < kHeight; ++r) left[r] = right[r] = _mm256_setzero_si256();
        const uint8_t* rows = panel.values + column * 4;
        const int8_t* queries = group.values;
        for (int64_t word = 0; word < words; ++word, rows += kPanel * 4, queries += kHeight * 4) {
            const __m256i r0 = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(rows));
            const __m256i r1 = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(rows + 32));
#pragma GCC unroll 16
            for (int r = 0; r < kHeight; ++r) {
                int bytes;
                __builtin_memcpy(&bytes, queries + r * 4, 4);
                const __m256i q = _mm256_set1_epi32(bytes);
                left[r] = _mm256_dpbusd_avx_epi32(left[r], r0, q);
                right[r] = _mm256_dpbusd_avx_epi32(right[r], r1, q);
            }
        }
#pragma GCC unroll 16
        for (int r = 0; r < kHeight; ++r) {
            int32_t* out = dots + r * kPanel + column;
            _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), left[r]);
            _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + 8), right[r]);
        }
    }
}

void estimate(const QuantizedGroup& group, const QuantizedPanel& panel, int64_t words,
              const Levels& levels, uint8_t* estimates, int64_t step) {
    int32_t dots[kHeight * kPanel];
    products(group, panel, words, dots);
    quantized_estimate<Avx2, kHeight>(dots, group, panel, levels, estimates, step);
}

void tile(const QuantizedGroup& group, const QuantizedPanel& panel, int64_t words, uint32_t* hits,
          float* bounds) {
    int32_t dots[kHeight * kPanel];
    products(group, panel, words, dots);
    quantized_test<Avx2, kHeight>(dots, group, panel, hits, bounds);
}

const QuantizedKernels int8{kHeight,          1,        128,  1,       false,   0.0,
                            quantize_int8<8>, estimate, tile, nullptr, nullptr, nullptr};

}  // namespace

const ScreenKernels screen_avx2vnni = screen_of<Avx2, kHeight>(&int8, nullptr);

}  // namespace pyad
#endif
