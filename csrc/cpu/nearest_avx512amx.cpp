// nearest_screen.h on the tile unit: rows are the first operand, queries the second.
#ifdef PYAD_AMX_LEVEL
#include <immintrin.h>

#include "screen.h"

namespace pyad {
namespace {

constexpr int64_t kStep = 16;  // words of one tile row
constexpr int64_t kDots = kPanel * kQueryLanes;
alignas(64) constexpr int32_t kPlaces[kPanel] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10,
                                                 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
                                                 22, 23, 24, 25, 26, 27, 28, 29, 30, 31};

// One step of 16 words of rows times queries, added to tiles 0 to 3: 2 x 2 of 16 x 16 sums.
inline void multiply_step(const int8_t* queries, const int8_t* rows, int64_t word) {
    const int8_t* left = rows + word * kPanel * 4;
    const int8_t* right = queries + word * kQueryLanes * 4;
    _tile_loadd(4, left, 64);
    _tile_loadd(6, right, kQueryLanes * 4);
    _tile_loadd(7, right + 64, kQueryLanes * 4);
    _tile_loadd(5, left + 16 * 64, 64);
    _tile_dpbssd(0, 4, 6);
    _tile_dpbssd(1, 4, 7);
    _tile_dpbssd(2, 5, 6);
    _tile_dpbssd(3, 5, 7);
}

inline void clear() {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
}

// dots (32 rows, 32 queries)
inline void store(int32_t* dots) {
    _tile_stored(0, dots, kQueryLanes * 4);
    _tile_stored(1, dots + 16, kQueryLanes * 4);
    _tile_stored(2, dots + 16 * kQueryLanes, kQueryLanes * 4);
    _tile_stored(3, dots + 16 * kQueryLanes + 16, kQueryLanes * 4);
}

// ||s v||^2 of the row minus twice the product, as quantized_tile.h.
inline __m512 bound_of(const int32_t* dots, const RowTiles& rows, int64_t row, __m512 minus_scale) {
    const __m512 product = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_load_si512(dots)),
                                         _mm512_set1_ps(rows.scales[row]));
    return _mm512_fmadd_ps(product, minus_scale, _mm512_set1_ps(rows.norms[row]));
}

// The two least bounds of 32 queries, as rows come by.
struct LeastTwo {
    const int32_t* dots;
    RowTiles rows;
    const float* scales;
    float *least, *second;
    __m512 minus_scale[2], lowest[2], next[2];

    void begin() {
        for (int half = 0; half < 2; ++half) {
            minus_scale[half] =
                _mm512_sub_ps(_mm512_setzero_ps(), _mm512_loadu_ps(scales + half * 16));
            lowest[half] = next[half] = _mm512_set1_ps(3.2e38f);
        }
    }
    void take(int64_t row) {
        const __m512i place = _mm512_set1_epi32(kPlaces[row]), kept = _mm512_set1_epi32(~31);
#pragma GCC unroll 2
        for (int half = 0; half < 2; ++half) {
            const __m512 bound =
                bound_of(dots + row * kQueryLanes + half * 16, rows, row, minus_scale[half]);
            const __m512 key = _mm512_castsi512_ps(_mm512_ternarylogic_epi32(
                _mm512_castps_si512(bound), kept, place, 0xEA));  // (bound & ~31) | row
            next[half] = _mm512_min_ps(next[half], _mm512_max_ps(lowest[half], key));
            lowest[half] = _mm512_min_ps(lowest[half], key);
        }
    }
    void end() const {
        for (int half = 0; half < 2; ++half) {
            _mm512_storeu_ps(least + half * 16, lowest[half]);
            _mm512_storeu_ps(second + half * 16, next[half]);
        }
    }
};

// The products of a tile run on the tile unit while the bounds of the tile before are made: steps
// of both alternate, because a whole tile's instructions would fill the processor's window. Two
// panels stay in the first-level cache while the queries come from the second.
void minima(const int8_t* queries, const float* query_scales, int64_t groups, const RowTiles* rows,
            int64_t panels, int64_t words, float* least, float* second) {
    alignas(64) int32_t dots[2][kDots];
    const int64_t steps = words / kStep;
    LeastTwo before{};
    bool any = false;
    for (int64_t pair = 0; pair < panels; pair += 2) {
        const int64_t height = panels - pair < 2 ? 1 : 2;
        for (int64_t g = 0; g < groups; ++g)
            for (int64_t p = pair; p < pair + height; ++p) {
                const int8_t* own = queries + g * words * kQueryLanes * 4;
                int32_t* out = dots[p & 1];
                clear();
                if (any) before.begin();
                int64_t row = 0;
                for (int64_t s = 0; s < steps; ++s) {
                    multiply_step(own, rows[p].values, s * kStep);
                    if (!any) continue;
                    for (const int64_t stop = kPanel * (s + 1) / steps; row < stop; ++row)
                        before.take(row);
                }
                if (any) before.end();
                store(out);
                const int64_t to = (p * groups + g) * kQueryLanes;
                before.dots = out;
                before.rows = rows[p];
                before.scales = query_scales + g * kQueryLanes;
                before.least = least + to;
                before.second = second + to;
                any = true;
            }
    }
    if (!any) return;
    before.begin();
    for (int64_t row = 0; row < kPanel; ++row) before.take(row);
    before.end();
}

void bounds(const int8_t* queries, const float* query_scales, int lane, const RowTiles& rows,
            int64_t words, float* bounds) {
    alignas(64) int32_t dots[kDots];
    clear();
    for (int64_t word = 0; word < words; word += kStep) multiply_step(queries, rows.values, word);
    store(dots);
    const int half = lane & 16;
    const __m512 minus_scale =
        _mm512_sub_ps(_mm512_setzero_ps(), _mm512_loadu_ps(query_scales + half));
    for (int r = 0; r < kPanel; ++r) {
        alignas(64) float lanes[16];
        _mm512_store_ps(lanes, bound_of(dots + r * kQueryLanes + half, rows, r, minus_scale));
        bounds[r] = lanes[lane & 15];
    }
}

void lowest(const float* least, int64_t panels, int64_t step, float* values, int32_t* places) {
    __m512 value = _mm512_loadu_ps(least);
    __m512i place = _mm512_setzero_si512();
    for (int64_t p = 1; p < panels; ++p) {
        const __m512 other = _mm512_loadu_ps(least + p * step);
        const __mmask16 lower = _mm512_cmp_ps_mask(other, value, _CMP_LT_OQ);
        value = _mm512_mask_mov_ps(value, lower, other);
        place = _mm512_mask_mov_epi32(place, lower, _mm512_set1_epi32(static_cast<int>(p)));
    }
    _mm512_storeu_ps(values, value);
    _mm512_storeu_si512(places, place);
}

int64_t within(const float* least, int64_t panels, int64_t step, const float* limits,
               int32_t* places, uint32_t* masks) {
    const __m512 limit = _mm512_loadu_ps(limits);
    int64_t count = 0;
    for (int64_t p = 0; p < panels; ++p) {
        const __mmask16 mask =
            _mm512_cmp_ps_mask(_mm512_loadu_ps(least + p * step), limit, _CMP_LE_OQ);
        places[count] = static_cast<int32_t>(p);
        masks[count] = _cvtmask16_u32(mask);
        count += !_kortestz_mask16_u8(mask, mask);
    }
    return count;
}

}  // namespace

const NearestKernels nearest_avx512amx{minima, bounds, lowest, within};

}  // namespace pyad
#endif
