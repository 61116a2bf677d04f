#ifdef PYAD_AMX_LEVEL
#include <type_traits>

#include "avx512.h"
#include "quantized_tile.h"
#include "screen_tile.h"

namespace pyad {
namespace {

constexpr int kHeight = 32;    // queries of one tile: 2 x 2 accumulators of 16 x 16
constexpr int64_t kStep = 16;  // words of one tile row

// Eight tiles of 16 rows of 64 bytes: four accumulators, two of queries, two of rows. Static,
// because compilers do not see that the instruction reads all of it.
struct alignas(64) TileLayout {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
alignas(64) volatile const TileLayout layout;

void enter() { _tile_loadconfig(const_cast<const TileLayout*>(&layout)); }

void leave() { _tile_release(); }

// A group is (words / 16, 32, 16), so that the queries' tiles lie one after the other; a panel is
// (words, 32): one tile of rows holds 16 words of 16 rows.
template <bool integer, typename T>
void products(const QuantizedGroup& group, const QuantizedPanel& panel, int64_t words, T* dots) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t word = 0; word < words; word += kStep) {
        const int8_t* queries = group.values + word * kHeight * 4;
        const uint8_t* rows = panel.values + word * kPanel * 4;
        _tile_loadd(4, queries, 64);
        _tile_loadd(6, rows, kPanel * 4);
        _tile_loadd(5, queries + 16 * 64, 64);
        _tile_loadd(7, rows + 64, kPanel * 4);
        if constexpr (integer) {
            _tile_dpbssd(0, 4, 6);
            _tile_dpbssd(1, 4, 7);
            _tile_dpbssd(2, 5, 6);
            _tile_dpbssd(3, 5, 7);
        } else {
            _tile_dpbf16ps(0, 4, 6);
            _tile_dpbf16ps(1, 4, 7);
            _tile_dpbf16ps(2, 5, 6);
            _tile_dpbf16ps(3, 5, 7);
        }
    }
    _tile_stored(0, dots, kPanel * 4);
    _tile_stored(1, dots + 16, kPanel * 4);
    _tile_stored(2, dots + 16 * kPanel, kPanel * 4);
    _tile_stored(3, dots + 16 * kPanel + 16, kPanel * 4);
}

template <typename T>
void estimate(const QuantizedGroup& group, const QuantizedPanel& panel, int64_t words,
              const Levels& levels, uint8_t* estimates, int64_t step) {
    alignas(64) T dots[kHeight * kPanel];
    products<std::is_same_v<T, int32_t>>(group, panel, words, dots);
    quantized_estimate<Avx512, kHeight>(dots, group, panel, levels, estimates, step);
}

template <typename T>
void tile(const QuantizedGroup& group, const QuantizedPanel& panel, int64_t words, uint32_t* hits,
          float* bounds) {
    alignas(64) T dots[kHeight * kPanel];
    products<std::is_same_v<T, int32_t>>(group, panel, words, dots);
    quantized_test<Avx512, kHeight>(dots, group, panel, hits, bounds);
}

// To bfloat16, nearest even; the residual of a finite value is exact.
Quantized quantize_bfloat16(const float* row, const float* mean, int64_t D, int8_t* values) {
    Quantized result;
    result.largest = largest_of<16>(row, mean, D);
    if (!(result.largest < kQuantizedLimit)) return result;
    result.scale = 1.0f;
    // The tile unit flushes small numbers to zero; vectors of nothing else keep v = 0.
    const uint32_t kept = result.largest > 1e-15f ? 0xffff0000u : 0u;
    float z[kLanes], residuals[kLanes] = {}, lengths[kLanes] = {}, norms[kLanes] = {};
    for (int64_t d = 0; d < D; d += kLanes) {
        centre(row, mean, D, d, z);
        uint32_t bits[kLanes];
        __builtin_memcpy(bits, z, sizeof bits);
        uint16_t high[kLanes];
        for (int l = 0; l < kLanes; ++l) {
            bits[l] = (bits[l] + 0x7fffu + (bits[l] >> 16 & 1u)) & kept;
            high[l] = static_cast<uint16_t>(bits[l] >> 16);
        }
        float v[kLanes];
        __builtin_memcpy(v, bits, sizeof v);
        __builtin_memcpy(values + d * 2, high, sizeof high);
        for (int l = 0; l < kLanes; ++l) {
            const float r = z[l] - v[l];
            residuals[l] += r * r;
            lengths[l] += z[l] * z[l];
            norms[l] += v[l] * v[l];
        }
    }
    for (const float norm : norms) result.norm += norm;
    result.residual = residual_of(root_of_sum(residuals), root_of_sum(lengths), 1e-16);
    return result;
}

// Norms are summed in float32 as well: 1 unit per term and lane more than the product's.
constexpr double kUnit = 1.0 / 16777216.0;
const QuantizedKernels int8{kHeight,
                            kStep,
                            0,
                            1,
                            true,
                            0.0,
                            quantize_int8<16>,
                            estimate<int32_t>,
                            tile<int32_t>,
                            enter,
                            leave,
                            &nearest_avx512amx};
const QuantizedKernels bfloat16{
    kHeight,           kStep,           0,           2,     true,  1.0625 * kUnit,
    quantize_bfloat16, estimate<float>, tile<float>, enter, leave, nullptr};

}  // namespace

const ScreenKernels screen_avx512amx = screen_of<Avx512, 12>(&int8, &bfloat16);

}  // namespace pyad
#endif
