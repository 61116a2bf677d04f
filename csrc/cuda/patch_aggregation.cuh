// patch_aggregation as a block program.
#pragma once

#include <algorithm>

#include "aggregation_tables.h"
#include "block.h"
#include "pyad/cuda/banded.h"
#include "pyad/cuda/patch_aggregation.h"

namespace pyad::cuda {

// Division of 0 <= n < 128 by 1 <= d <= 128 without dividing.
struct SmallDivisor {
    uint32_t d, factor;
    PYAD_HOST_DEVICE static SmallDivisor of(int32_t d) {
        return {static_cast<uint32_t>(d), 65536u / static_cast<uint32_t>(d) + 1};
    }
    PYAD_HOST_DEVICE int32_t quotient(int32_t n) const {
        return static_cast<int32_t>(static_cast<uint32_t>(n) * factor >> 16);
    }
    PYAD_HOST_DEVICE int32_t remainder(int32_t n) const {
        return n - quotient(n) * static_cast<int32_t>(d);
    }
};

// 32 dims of a tile of at most 128 patches.
struct AggregationTile {
    static constexpr int threads = 256, resident = 2;
    static constexpr int warps = threads / kWarp;
    static constexpr int patches = 128;  // of a tile, and of the part of a level that it needs
    static constexpr int dims = 32;
    static constexpr int outputs = patches / warps;  // of a thread
    static constexpr int stencils = patches / kWarp;
    struct Shared {
        // One more than a row of dims: neither lanes along the map nor along the dims collide.
        float own[patches][dims + 1];
    };
    struct Level {
        const float* in;  // (N, channels, h, w)
        int64_t picture;  // channels * h * w
        int32_t h, w;
        BandedView rows, columns;  // no rows: the grid of level 0
    };

    AggregationTables tables;
    Level levels[kMaxLevels];
    int32_t blocks, tiles_x, tiles_y;
    int32_t h, w, D;
    int32_t tile_h;
    SmallDivisor tile_w;
    float* out;

    // Where the block stands, the same for all threads.
    struct Place {
        int64_t n;
        int32_t y0, y1, x0, x1;  // patches
        int32_t sy, sx, rows;    // part of the level: first row and column, rows
        SmallDivisor columns;    // of that part
        int32_t first, last;     // dims
    };

    PYAD_DEVICE void operator()(const Block& block, Shared& shared) const {
        const AggregationBlock which = tables.blocks[block.x % blocks];
        const int64_t tile = block.x / blocks;
        const int32_t in_picture = static_cast<int32_t>(tile % (tiles_x * tiles_y));
        Place at;
        at.n = tile / (tiles_x * tiles_y);
        at.y0 = in_picture / tiles_x * tile_h;
        at.x0 = in_picture % tiles_x * static_cast<int32_t>(tile_w.d);
        at.y1 = at.y0 + tile_h < h ? at.y0 + tile_h : h;
        at.x1 =
            at.x0 + static_cast<int32_t>(tile_w.d) < w ? at.x0 + static_cast<int32_t>(tile_w.d) : w;
        at.first = which.first;
        at.last = which.last;

        PerThread<float[outputs], threads> sums;
        bool accumulate = false;
        for (int l = 0; l < kMaxLevels; ++l) {
            if ((which.levels >> l & 1) == 0) continue;
            const Level& level = levels[l];
            choose_part(level, at);
            block.for_each_thread([&](int t) { make_stencils(l, at, t, shared); });
            block.for_each_thread([&](int t) {
                PYAD_UNROLL
                for (int k = 0; k < outputs; ++k) {
                    const int32_t p = t / kWarp + k * warps;
                    const int32_t y = at.y0 + tile_w.quotient(p), x = at.x0 + tile_w.remainder(p);
                    if (y >= at.y1 || x >= at.x1) continue;
                    const float value = up_sampled(level, at, y, x, t % kWarp, shared);
                    sums[t][k] = accumulate ? add(sums[t][k], value) : value;
                }
            });
            accumulate = true;
        }
        block.for_each_thread([&](int t) {
            const int32_t d = at.first + t % kWarp;
            if (d >= at.last) return;
            PYAD_UNROLL
            for (int k = 0; k < outputs; ++k) {
                const int32_t p = t / kWarp + k * warps;
                const int32_t y = at.y0 + tile_w.quotient(p), x = at.x0 + tile_w.remainder(p);
                if (y < at.y1 && x < at.x1) out[((at.n * h + y) * w + x) * D + d] = sums[t][k];
            }
        });
    }

    // The part of a level that the tile's patches are made of.
    PYAD_DEVICE void choose_part(const Level& level, Place& at) const {
        if (level.rows.start == nullptr) {
            at.sy = at.y0;
            at.sx = at.x0;
            at.rows = at.y1 - at.y0;
            at.columns = tile_w;
            return;
        }
        at.sy = level.rows.start[at.y0];
        at.sx = level.columns.start[at.x0];
        at.rows = level.rows.start[at.y1 - 1] + level.rows.count[at.y1 - 1] - at.sy;
        const int32_t right = level.columns.start[at.x1 - 1] + level.columns.count[at.x1 - 1];
        at.columns = SmallDivisor::of(right - at.sx);
    }

    // Each warp takes every eighth dim, each lane every 32nd place of the part.
    PYAD_DEVICE void make_stencils(int l, const Place& at, int t, Shared& shared) const {
        const Level& level = levels[l];
        const AggregationTables::Level& table = tables.levels[l];
        const int32_t size = at.rows * static_cast<int32_t>(at.columns.d);
        const float* in = level.in + at.n * level.picture;
        int32_t centre[stencils];
        uint32_t inside[stencils];  // bit p: window position p lies in the map
        PYAD_UNROLL
        for (int k = 0; k < stencils; ++k) {
            const int32_t i = t % kWarp + k * kWarp;
            const int32_t y = at.sy + at.columns.quotient(i), x = at.sx + at.columns.remainder(i);
            centre[k] = y * level.w + x;
            // Of the level of the patches, the last tile may reach beyond the map.
            inside[k] = i < size && x < level.w ? window(level, y, x) : 0;
        }
        for (int32_t d = at.first + t / kWarp; d < at.last; d += warps) {
            float sums[stencils];
            PYAD_UNROLL
            for (int k = 0; k < stencils; ++k) sums[k] = 0.0f;
            const int32_t end = table.begin[d - table.first + 1];
            for (int32_t e = table.begin[d - table.first]; e < end; ++e) {
                const AggregationEntry entry = table.entries[e];
                const int32_t position = entry.at & 15;
                const float* from = in + entry.at / 16 * level.h * level.w +
                                    (position / 3 - 1) * level.w + position % 3 - 1;
                PYAD_UNROLL
                for (int k = 0; k < stencils; ++k)
                    if (inside[k] >> position & 1)
                        sums[k] = add(sums[k], mul(entry.weight, from[centre[k]]));
            }
            PYAD_UNROLL
            for (int k = 0; k < stencils; ++k)
                if (t % kWarp + k * kWarp < size)
                    shared.own[t % kWarp + k * kWarp][d - at.first] = sums[k];
        }
    }

    PYAD_DEVICE static uint32_t window(const Level& level, int32_t y, int32_t x) {
        uint32_t inside = 0x1ff;
        if (y == 0) inside &= ~0007u;
        if (y == level.h - 1) inside &= ~0700u;
        if (x == 0) inside &= ~0111u;
        if (x == level.w - 1) inside &= ~0444u;
        return inside;
    }

    // The level at patch (y, x): rows are blended first, then columns.
    PYAD_DEVICE float up_sampled(const Level& level, const Place& at, int32_t y, int32_t x,
                                 int lane, const Shared& shared) const {
        const int32_t width = static_cast<int32_t>(at.columns.d);
        if (level.rows.start == nullptr) return shared.own[(y - at.y0) * width + x - at.x0][lane];
        const BandedView &rows = level.rows, &columns = level.columns;
        const int32_t top = rows.start[y] - at.sy, left = columns.start[x] - at.sx;
        float sum = 0.0f;
        for (int32_t j = 0; j < columns.count[x]; ++j) {
            float column = 0.0f;
            for (int32_t i = 0; i < rows.count[y]; ++i)
                column = add(column, mul(rows.weights[y * rows.taps + i],
                                         shared.own[(top + i) * width + left + j][lane]));
            sum = add(sum, mul(columns.weights[x * columns.taps + j], column));
        }
        return sum;
    }
};

// The most inputs that any tile of `side` outputs touches.
inline int64_t longest_part(const Banded& map, int64_t side) {
    int64_t longest = 0;
    for (int64_t i = 0; i < map.rows; i += side)
        longest = std::max(longest, map.last(std::min(map.rows, i + side)) - map.first(i));
    return longest;
}

// Whether a tile's part of every level fits shared memory.
inline bool parts_fit(const std::vector<DeviceFeatureMap>& features, int64_t tile_h,
                      int64_t tile_w) {
    for (const DeviceFeatureMap& feature : features)
        if (feature.map.rows != nullptr &&
            longest_part(*feature.map.rows, tile_h) * longest_part(*feature.map.columns, tile_w) >
                AggregationTile::patches)
            return false;
    return tile_h * tile_w <= AggregationTile::patches;
}

// Fills everything but `tables`; returns the grid.
inline Grid prepare_aggregation(AggregationTile& tile, const AggregationPlan& plan,
                                const std::vector<DeviceFeatureMap>& features, int64_t N,
                                float* out) {
    const auto refuse = [](const char* what) {
        throw std::invalid_argument(std::string("[patch_aggregation] expected ") + what + ".");
    };
    if (features.size() != plan.levels.size() || features.empty() || features[0].map.rows)
        refuse("features that fit the plan");
    const int64_t h = features[0].map.h, w = features[0].map.w;
    for (size_t l = 0; l < features.size(); ++l) {
        const FeatureMap& map = features[l].map;
        const int64_t picture = plan.levels[l].entries.channels * map.h * map.w;
        if (picture > INT32_MAX) refuse("fewer than 2^31 values of a picture in each level");
        if (map.rows != nullptr && (map.rows->taps > 2 || map.columns->taps > 2))
            refuse("up-sampling that mixes two rows and two columns");
        AggregationTile::Level& level = tile.levels[l];
        level = {map.data, picture, static_cast<int32_t>(map.h), static_cast<int32_t>(map.w),
                 {},       {}};
        if (map.rows != nullptr) {
            level.rows = view_of(*map.rows, features[l].row_tables);
            level.columns = view_of(*map.columns, features[l].column_tables);
        }
    }
    // As wide as it goes, in equal parts; then lower, then narrower, until all levels fit.
    const auto equal_parts = [](int64_t n, int64_t most) {
        const int64_t parts = (n + most - 1) / most;
        return (n + parts - 1) / parts;
    };
    int64_t tile_w = equal_parts(w, kWarp);
    int64_t tile_h = equal_parts(h, AggregationTile::patches / tile_w);
    while (!parts_fit(features, tile_h, tile_w)) {
        if (tile_h > 1)
            tile_h = (tile_h + 1) / 2;
        else
            tile_w = (tile_w + 1) / 2;  // 1 x 1 touches four places at most
    }
    const int64_t tiles_x = (w + tile_w - 1) / tile_w, tiles_y = (h + tile_h - 1) / tile_h;
    const int64_t blocks = static_cast<int64_t>(plan.blocks.size());
    if (tiles_x * tiles_y > INT32_MAX || N * tiles_x * tiles_y > INT32_MAX / blocks)
        refuse("fewer than 2^31 tiles in one call; pass fewer pictures at a time");
    tile.blocks = static_cast<int32_t>(blocks);
    tile.tiles_x = static_cast<int32_t>(tiles_x);
    tile.tiles_y = static_cast<int32_t>(tiles_y);
    tile.h = static_cast<int32_t>(h);
    tile.w = static_cast<int32_t>(w);
    tile.D = static_cast<int32_t>(plan.dims);
    tile.tile_h = static_cast<int32_t>(tile_h);
    tile.tile_w = SmallDivisor::of(static_cast<int32_t>(tile_w));
    tile.out = out;
    return {N * tiles_x * tiles_y * blocks};
}

}  // namespace pyad::cuda
