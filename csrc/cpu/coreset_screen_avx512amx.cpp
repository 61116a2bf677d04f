// The tile of coreset_screen.h on matrix units: 16 x 16 products of 64 bytes in one instruction.
#if defined(PYAD_X86_LEVELS) && defined(PYAD_AMX_LEVEL)
#include "avx512.h"
#include "coreset_screen.h"

namespace pyad {
namespace {

constexpr int kHeight = 32;

struct alignas(64) TileConfig {
    uint8_t palette = 1, start = 0, reserved[14] = {};
    uint16_t columns[16] = {};  // bytes of a row
    uint8_t rows[16] = {};
};

void begin() {
    TileConfig config;
    for (int i = 0; i < 8; ++i) {
        config.columns[i] = 64;
        config.rows[i] = 16;
    }
    // GCC 12 takes the instruction to read eight bytes only and drops the other stores.
    asm volatile("" : : "r"(&config) : "memory");
    _tile_loadconfig(&config);
}

void end() { _tile_release(); }

uint32_t tile(const int8_t* points, const uint8_t* panel, int64_t depth, const int32_t* offsets,
              const int32_t* bars, uint32_t* hits, int32_t* dots) {
    // Sums in tiles 0 to 3, points in 4 and 5, picks in 6 and 7.
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t d = 0; d < depth; d += 64, panel += 16 * kCoresetPanel * 4) {
        _tile_loadd(4, points + d, depth);
        _tile_loadd(6, panel, kCoresetPanel * 4);
        _tile_loadd(7, panel + 64, kCoresetPanel * 4);
        _tile_loadd(5, points + 16 * depth + d, depth);
        _tile_dpbsud(0, 4, 6);
        _tile_dpbsud(1, 4, 7);
        _tile_dpbsud(2, 5, 6);
        _tile_dpbsud(3, 5, 7);
    }
    constexpr int64_t kPitch = kCoresetPanel * sizeof(int32_t);
    _tile_stored(0, dots, kPitch);
    _tile_stored(1, dots + 16, kPitch);
    _tile_stored(2, dots + 16 * kCoresetPanel, kPitch);
    _tile_stored(3, dots + 16 * kCoresetPanel + 16, kPitch);
    const __m512i left = _mm512_loadu_si512(offsets), right = _mm512_loadu_si512(offsets + 16);
    uint32_t any = 0;
    for (int r = 0; r < kHeight; ++r) {
        const __m512i bar = _mm512_set1_epi32(bars[r]);
        int32_t* dot = dots + r * kCoresetPanel;
        const __m512i low = _mm512_add_epi32(_mm512_loadu_si512(dot), left);
        const __m512i high = _mm512_add_epi32(_mm512_loadu_si512(dot + 16), right);
        const uint32_t hit = bits_of(_mm512_cmpgt_epi32_mask(low, bar)) |
                             bits_of(_mm512_cmpgt_epi32_mask(high, bar)) << 16;
        hits[r] = hit;
        any |= static_cast<uint32_t>(hit != 0) << r;
        _mm512_storeu_si512(dot, low);
        _mm512_storeu_si512(dot + 16, high);
    }
    return any;
}

}  // namespace

const CoresetKernels coreset_avx512amx{kHeight,
                                       begin,
                                       end,
                                       tile,
                                       coreset_scan_avx512,
                                       coreset_largest_avx512,
                                       coreset_quantize_avx512};

}  // namespace pyad
#endif
