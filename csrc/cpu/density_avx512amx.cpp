// Tiles of 8-bit products: a 16-bit component is 256 high + low, and so a dot product is
// 65536 high.high + 256 (high.low + low.high) + low.low, exact modulo 2^32, where it fits.
//   group  (D / 64, 2, 2, 16, 64) int8: high and low parts of rows 0-15, then of rows 16-31
//   panel  (2, D / 64, 2, 16, 16, 4) int8: of rows 0-15, then 16-31; four components of each row
#ifdef PYAD_AMX_LEVEL
#include "density_avx512.h"
#include "density_quantize.h"

namespace pyad {
namespace {

constexpr int64_t kTile = 16 * 64;  // bytes
constexpr int kHeight = 32;

struct alignas(64) TileConfig {
    uint8_t palette = 1, start = 0, reserved[14] = {};
    uint16_t columns[16] = {};  // bytes of a row
    uint8_t rows[16] = {};
};

// low in [-128, 127]; high stays in [-127, 127], as |v| <= 127 * 256
inline int8_t high_of(int16_t v) { return static_cast<int8_t>((v + 128) >> 8); }
inline int8_t low_of(int16_t v) { return static_cast<int8_t>(v & 255); }

// to (2, 16, 64): high, then low parts of components d to d + 63 of rows j to j + 15.
inline void split_chunk(const float* rows, int64_t n, int64_t j, int64_t D, int64_t d,
                        const RowScale* scales, int8_t* to) {
    for (int64_t r = 0; r < 16; ++r, to += 64) {
        alignas(64) int16_t v[kDensityChunk];
        quantize_chunk(rows, n, j + r, D, d, scales[j + r], v);
        for (int i = 0; i < kDensityChunk; ++i) to[i] = high_of(v[i]);
        for (int i = 0; i < kDensityChunk; ++i) to[kTile + i] = low_of(v[i]);
    }
}

bool pack_group(const float* rows, int64_t n, int64_t D, int16_t* out) {
    int8_t* tile = reinterpret_cast<int8_t*>(out);
    RowScale scales[kHeight];
    const bool finite = measure_rows<kHeight>(rows, n, D, scales);
    for (int64_t d = 0; d < D; d += 64)
        for (int64_t j = 0; j < kHeight; j += 16, tile += 2 * kTile)
            split_chunk(rows, n, j, D, d, scales, tile);
    return finite;
}

bool pack_panel(const float* rows, int64_t n, int64_t D, int16_t* out) {
    int8_t* tile = reinterpret_cast<int8_t*>(out);
    RowScale scales[kDensityPanel];
    const bool finite = measure_rows<kDensityPanel>(rows, n, D, scales);
    alignas(64) int8_t parts[2 * kTile];
    for (int64_t j = 0; j < kDensityPanel; j += 16)
        for (int64_t d = 0; d < D; d += 64, tile += 2 * kTile) {
            split_chunk(rows, n, j, D, d, scales, parts);
            DensityAvx512::transpose(parts, 64, tile, 64);
            DensityAvx512::transpose(parts + kTile, 64, tile + kTile, 64);
        }
    return finite;
}

// What the tiles summed: of features 0-15, then 16-31: high.high, the mixed, low.low.
struct alignas(64) Parts {
    int32_t of[2][3][16][16];
};

// between(i) runs beside the tiles' work, four times a block: i counts to 4 * blocks.
template <typename Between>
inline void multiply(const int8_t* group, const int8_t* run, int64_t blocks, Parts& parts,
                     const Between& between) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_zero(4);
    _tile_zero(5);
    for (int64_t k = 0; k < blocks; ++k, group += 4 * kTile, run += 2 * kTile) {
        _tile_loadd(6, run, 64);  // high parts of the queue
        _tile_loadd(7, group, 64);
        _tile_dpbssd(0, 7, 6);
        _tile_loadd(7, group + 2 * kTile, 64);
        _tile_dpbssd(3, 7, 6);
        between(4 * k);
        _tile_loadd(7, group + kTile, 64);
        _tile_dpbssd(1, 7, 6);
        _tile_loadd(7, group + 3 * kTile, 64);
        _tile_dpbssd(4, 7, 6);
        between(4 * k + 1);
        _tile_loadd(6, run + kTile, 64);  // low parts
        _tile_dpbssd(5, 7, 6);
        _tile_loadd(7, group + kTile, 64);
        _tile_dpbssd(2, 7, 6);
        between(4 * k + 2);
        _tile_loadd(7, group + 2 * kTile, 64);
        _tile_dpbssd(4, 7, 6);
        _tile_loadd(7, group, 64);
        _tile_dpbssd(1, 7, 6);
        between(4 * k + 3);
    }
    _tile_stored(0, parts.of[0][0], 64);
    _tile_stored(1, parts.of[0][1], 64);
    _tile_stored(2, parts.of[0][2], 64);
    _tile_stored(3, parts.of[1][0], 64);
    _tile_stored(4, parts.of[1][1], 64);
    _tile_stored(5, parts.of[1][2], 64);
    asm volatile("" : : "r"(&parts) : "memory");  // GCC 12 misses that the tiles were stored
}

// The dot products of 32 features with one run of queue rows, on their way into the sums.
struct Work {
    using V = DensityAvx512;

    Parts parts;
    int64_t left = 0;
    bool first = false;
    int32_t* references = nullptr;
    float* lanes = nullptr;

    V::ints dots(int64_t r) const {
        const auto& sums = parts.of[r / 16];
        const auto high = V::load<V::ints>(sums[0][r % 16]);
        const auto mixed = V::load<V::ints>(sums[1][r % 16]);
        return (((high << 8) + mixed) << 8) + V::load<V::ints>(sums[2][r % 16]);
    }

    // Four features, r to r + 3.
    void absorb_four(int64_t r, const DensityExponent& exponent) {
        if (left >= kDensityRun) {
            if (exponent.fixed && side_by_side<true>(r, exponent.scale)) return;
            if (!exponent.fixed && !first && side_by_side<false>(r, exponent.scale)) return;
        }
        for (int64_t i = r; i < r + 4; ++i) {
            alignas(64) int32_t row[kDensityRun];
            const V::ints dot = dots(i);
            __builtin_memcpy(row, &dot, sizeof(row));
            absorb<V, 1>(row, left, exponent, first, references + i, lanes + i * kDensityRun);
        }
    }

    // The same for whole runs, interleaved to hide the latency of the exponentials. False, with
    // nothing done, where a reference has to rise.
    template <bool fixed>
    bool side_by_side(int64_t r, float scale) {
        V::floats t[4];
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) {
            const int32_t reference = fixed ? kDensityUnit * kDensityUnit : references[r + i];
            t[i] = scale * __builtin_convertvector(dots(r + i) - reference, V::floats);
        }
        if (!fixed && V::any_above(V::maximum(V::maximum(t[0], t[1]), V::maximum(t[2], t[3])),
                                   kDensityCeiling))
            return false;
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) t[i] = exp2_lanes<V, fixed>(t[i]);
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) {
            float* sum = lanes + (r + i) * kDensityRun;
            V::store(sum, V::load<V::floats>(sum) + t[i]);
        }
        return true;
    }
};

void sum(const int16_t* groups, int64_t count, const int16_t* panels, int64_t rows, int64_t D,
         const DensityExponent& exponent, int32_t* references, float* lanes) {
    TileConfig config;
    for (int i = 0; i < 8; ++i) {
        config.columns[i] = 64;
        config.rows[i] = 16;
    }
    // GCC 12 takes the instruction to read eight bytes only and drops the other stores.
    asm volatile("" : : "r"(&config) : "memory");
    _tile_loadconfig(&config);
    const int64_t blocks = (D + 63) / 64;
    const int64_t share = (kHeight / 4 + 4 * blocks - 1) / (4 * blocks) * 4;
    Work works[2];
    Work* last = nullptr;
    int64_t turn = 0;
    for (int64_t row = 0; row < rows; row += kDensityRun) {
        const int8_t* run = reinterpret_cast<const int8_t*>(panels) + row * blocks * 128;
        for (int64_t g = 0; g < count; ++g, turn ^= 1) {
            const int8_t* group =
                reinterpret_cast<const int8_t*>(groups) + g * kHeight * blocks * 128;
            Work& work = works[turn];
            multiply(group, run, blocks, work.parts, [&](int64_t k) {
                if (!last) return;
                const int64_t end = (k + 1) * share < kHeight ? (k + 1) * share : kHeight;
                for (int64_t r = k * share; r < end; r += 4) last->absorb_four(r, exponent);
            });
            work.left = rows - row;
            work.first = row == 0;
            work.references = references + g * kHeight;
            work.lanes = lanes + g * kHeight * kDensityRun;
            last = &work;
        }
    }
    for (int64_t r = 0; r < kHeight; r += 4) last->absorb_four(r, exponent);
    _tile_release();
}

}  // namespace

const DensityKernels density_avx512amx{kHeight, 64, 2, pack_group, pack_panel, sum};

}  // namespace pyad
#endif
