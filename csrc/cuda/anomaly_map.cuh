// anomaly_map as block programs.
#pragma once

#include <stdexcept>

#include "block.h"
#include "pyad/cuda/anomaly_map.h"
#include "pyad/cuda/banded.h"

namespace pyad::cuda {

// The larger one; NaN where either is NaN.
PYAD_DEVICE float larger_or_nan(float a, float b) { return b > a || b != b ? b : a; }

constexpr uint32_t kMinusInfinity = 0xff800000u;

// One tile of a map. A warp holds 32 neighbouring columns, a thread four rows of one column.
struct AnomalyMapTile {
    static constexpr int threads = 128, resident = 8;
    static constexpr int width = kWarp, height = 16;
    static constexpr int warps = threads / kWarp;
    static constexpr int outputs = height / warps;  // of a thread
    static constexpr int chunk = 32;                // source rows in shared memory at a time
    struct Shared {
        float wide[chunk][width];  // source rows, already summed over columns
        float best[threads];
    };

    const float* scores;
    BandedView rows, columns;
    float* maps;
    float* tile_maxima;
    int32_t tiles_x, tiles_y;

    static int64_t tiles_along(int64_t n, int64_t tile) { return (n + tile - 1) / tile; }
    static int64_t tiles(int64_t H, int64_t W) {
        return tiles_along(H, height) * tiles_along(W, width);
    }

    PYAD_DEVICE void operator()(const Block& block, Shared& shared) const {
        const int32_t tiles = tiles_x * tiles_y, H = rows.rows, W = columns.rows;
        const int64_t n = block.x / tiles;
        const int32_t tile = static_cast<int32_t>(block.x % tiles);
        const int32_t y0 = tile / tiles_x * height, x0 = tile % tiles_x * width;
        const int32_t y1 = y0 + height < H ? y0 + height : H;
        const float* source = scores + n * rows.columns * columns.columns;

        PerThread<float[outputs], threads> sums;
        block.for_each_thread([&](int t) {
            PYAD_UNROLL
            for (int k = 0; k < outputs; ++k) sums[t][k] = 0.0f;
        });
        const int32_t end = rows.start[y1 - 1] + rows.count[y1 - 1];
        for (int32_t begin = rows.start[y0]; begin < end; begin += chunk) {
            const int32_t held = end - begin < chunk ? end - begin : chunk;
            block.for_each_thread([&](int t) {
                const int32_t x = x0 + t % kWarp;
                if (x < W) widen(source, x, begin, held, t / kWarp, t % kWarp, shared);
            });
            block.for_each_thread([&](int t) {
                if (x0 + t % kWarp >= W) return;
                PYAD_UNROLL
                for (int k = 0; k < outputs; ++k) {
                    const int32_t y = y0 + t / kWarp + k * warps;
                    if (y < y1) sums[t][k] = blend(sums[t][k], y, begin, held, t % kWarp, shared);
                }
            });
        }

        PerThread<float, threads> best;
        block.for_each_thread([&](int t) {
            const int32_t x = x0 + t % kWarp;
            best[t] = float_of(kMinusInfinity);
            PYAD_UNROLL
            for (int k = 0; k < outputs; ++k) {
                const int32_t y = y0 + t / kWarp + k * warps;
                if (x >= W || y >= y1) continue;
                maps[(n * H + y) * W + x] = sums[t][k];
                best[t] = larger_or_nan(best[t], sums[t][k]);
            }
        });
        block.reduce(best, shared.best, [](float a, float b) { return larger_or_nan(a, b); });
        block.for_each_thread([&](int t) {
            if (t == 0) tile_maxima[block.x] = shared.best[0];
        });
    }

    // Column x of source rows begin, ...: the sums over columns.
    PYAD_DEVICE void widen(const float* source, int32_t x, int32_t begin, int32_t held, int warp,
                           int lane, Shared& shared) const {
        const int32_t w = columns.columns, count = columns.count[x];
        const float* weights = columns.weights + static_cast<int64_t>(x) * columns.taps;
        for (int32_t r = warp; r < held; r += warps) {
            const float* from = source + static_cast<int64_t>(begin + r) * w + columns.start[x];
            float sum = 0.0f;
            for (int32_t tap = 0; tap < count; ++tap) sum = add(sum, mul(weights[tap], from[tap]));
            shared.wide[r][lane] = sum;
        }
    }

    // The sum of row y, carried on over the source rows that are held.
    PYAD_DEVICE float blend(float sum, int32_t y, int32_t begin, int32_t held, int lane,
                            const Shared& shared) const {
        const int32_t start = rows.start[y], count = rows.count[y];
        const float* weights = rows.weights + static_cast<int64_t>(y) * rows.taps;
        const int32_t first = start < begin ? begin - start : 0;
        const int32_t last = start + count > begin + held ? begin + held - start : count;
        for (int32_t tap = first; tap < last; ++tap)
            sum = add(sum, mul(weights[tap], shared.wide[start + tap - begin][lane]));
        return sum;
    }
};

// The maximum of one map.
struct AnomalyMapMaximum {
    static constexpr int threads = 128;
    struct Shared {
        float best[threads];
    };

    const float* tile_maxima;
    int64_t tiles;
    float* maxima;

    PYAD_DEVICE void operator()(const Block& block, Shared& shared) const {
        PerThread<float, threads> best;
        block.for_each_thread([&](int t) {
            best[t] = float_of(kMinusInfinity);
            for (int64_t i = t; i < tiles; i += threads)
                best[t] = larger_or_nan(best[t], tile_maxima[block.x * tiles + i]);
        });
        block.reduce(best, shared.best, [](float a, float b) { return larger_or_nan(a, b); });
        block.for_each_thread([&](int t) {
            if (t == 0) maxima[block.x] = shared.best[0];
        });
    }
};

// Both programs of one call, and their grids.
struct AnomalyMapCall {
    AnomalyMapTile tile;
    AnomalyMapMaximum maximum;
    int64_t N;

    AnomalyMapCall(const float* scores, int64_t N_, const BandedView& rows,
                   const BandedView& columns, void* workspace, float* maps, float* maxima)
        : tile{scores,
               rows,
               columns,
               maps,
               static_cast<float*>(workspace),
               static_cast<int32_t>(AnomalyMapTile::tiles_along(columns.rows, tile.width)),
               static_cast<int32_t>(AnomalyMapTile::tiles_along(rows.rows, tile.height))},
          maximum{tile.tile_maxima, AnomalyMapTile::tiles(rows.rows, columns.rows), maxima},
          N(N_) {
        if (N * maximum.tiles >= int64_t{1} << 31)
            throw std::invalid_argument(
                "[anomaly_map] expected fewer than 2^31 tiles of 16 x 32 pixels in one call. Pass "
                "fewer maps at a time.");
    }
    Grid tiles() const { return {N * maximum.tiles}; }
    Grid maps() const { return {N}; }
};

}  // namespace pyad::cuda
