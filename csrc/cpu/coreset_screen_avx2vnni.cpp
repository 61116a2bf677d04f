// The tile of coreset_screen.h on processors with 8-bit dot products but without AVX-512.
#ifdef PYAD_AVX_VNNI_LEVEL
#include <immintrin.h>

#include "coreset_screen.h"

namespace pyad {
namespace {

constexpr int kHeight = 6;

void nothing() {}

__m256i load(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
void store(void* p, __m256i v) { _mm256_storeu_si256(static_cast<__m256i*>(p), v); }

__m256i four_bytes(const int8_t* p) {
    int bytes;
    __builtin_memcpy(&bytes, p, 4);
    return _mm256_set1_epi32(bytes);
}

uint32_t above(__m256i values, __m256i bar) {
    const __m256i greater = _mm256_cmpgt_epi32(values, bar);
    return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(greater)));
}

// Sixteen registers hold 6 points and half a panel.
uint32_t tile(const int8_t* points, const uint8_t* panel, int64_t depth, const int32_t* offsets,
              const int32_t* bars, uint32_t* hits, int32_t* dots) {
    for (int column = 0; column < kCoresetPanel; column += 16) {
        __m256i left[kHeight], right[kHeight];
#pragma GCC unroll 8
        for (int r = 0; r < kHeight; ++r) {
            left[r] = load(offsets + column);
            right[r] = load(offsets + column + 8);
        }
        const uint8_t* picks = panel + column * 4;
        for (int64_t d = 0; d < depth; d += 4, picks += kCoresetPanel * 4) {
            const __m256i picks0 = load(picks), picks1 = load(picks + 32);
#pragma GCC unroll 8
            for (int r = 0; r < kHeight; ++r) {
                const __m256i point = four_bytes(points + r * depth + d);
                left[r] = _mm256_dpbusd_avx_epi32(left[r], picks0, point);
                right[r] = _mm256_dpbusd_avx_epi32(right[r], picks1, point);
            }
        }
#pragma GCC unroll 8
        for (int r = 0; r < kHeight; ++r) {
            store(dots + r * kCoresetPanel + column, left[r]);
            store(dots + r * kCoresetPanel + column + 8, right[r]);
        }
    }
    uint32_t any = 0;
    for (int r = 0; r < kHeight; ++r) {
        const __m256i bar = _mm256_set1_epi32(bars[r]);
        const int32_t* dot = dots + r * kCoresetPanel;
        hits[r] = above(load(dot), bar) | above(load(dot + 8), bar) << 8 |
                  above(load(dot + 16), bar) << 16 | above(load(dot + 24), bar) << 24;
        any |= static_cast<uint32_t>(hits[r] != 0) << r;
    }
    return any;
}

void scan(const int8_t* point, const uint8_t* panels, int64_t count, int64_t depth,
          const int32_t* offsets, int32_t bar, uint32_t* hits) {
    const __m256i bars = _mm256_set1_epi32(bar);
    for (int64_t p = 0; p < count; ++p, offsets += kCoresetPanel) {
        __m256i sums[4];
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) sums[i] = load(offsets + 8 * i);
        for (int64_t d = 0; d < depth; d += 4, panels += kCoresetPanel * 4) {
            const __m256i four = four_bytes(point + d);
#pragma GCC unroll 4
            for (int i = 0; i < 4; ++i)
                sums[i] = _mm256_dpbusd_avx_epi32(sums[i], load(panels + 32 * i), four);
        }
        hits[p] = above(sums[0], bars) | above(sums[1], bars) << 8 | above(sums[2], bars) << 16 |
                  above(sums[3], bars) << 24;
    }
}

}  // namespace

const CoresetKernels coreset_avx2vnni{kHeight, nothing,         nothing,         tile,
                                      scan,    coreset_largest, coreset_quantize};

}  // namespace pyad
#endif
