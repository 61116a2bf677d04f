// cosine_distance_map as block programs; the distances are in cosine_distances.cuh.
#pragma once

#include <stdexcept>
#include <vector>

#include "anomaly_map.cuh"
#include "cosine_distances.cuh"

namespace pyad::cuda {

struct AxisPair {
    BandedView rows, columns;
};

// One tile of a map, all levels after each other. A warp holds 32 neighbouring columns, a thread
// four rows of one column.
struct CosineMapTile {
    static constexpr int threads = 128;
    static constexpr int width = kWarp, height = 16;
    static constexpr int warps = threads / kWarp;
    static constexpr int outputs = height / warps;  // of a thread
    static constexpr int chunk = 32;                // source rows in shared memory at a time
    struct Shared {
        float wide[chunk][width];  // source rows, already summed over pairs and columns
    };

    CosinePairs pairs;
    AxisPair levels[kMaxPairs];
    int32_t level_count;
    const float* distances;
    float* maps;
    int32_t tiles_x, tiles_y;

    PYAD_DEVICE void operator()(const Block& block, Shared& shared) const {
        const int32_t tiles = tiles_x * tiles_y;
        const int32_t H = levels[0].rows.rows, W = levels[0].columns.rows;
        const int64_t n = block.x / tiles;
        const int32_t tile = static_cast<int32_t>(block.x % tiles);
        const int32_t y0 = tile / tiles_x * height, x0 = tile % tiles_x * width;
        const int32_t y1 = y0 + height < H ? y0 + height : H;

        PerThread<float[outputs], threads> sums;
        block.for_each_thread([&](int t) {
            PYAD_UNROLL
            for (int k = 0; k < outputs; ++k) sums[t][k] = 0.0f;
        });
        for (int32_t l = 0; l < level_count; ++l) {
            const BandedView& rows = levels[l].rows;
            const int32_t end = rows.start[y1 - 1] + rows.count[y1 - 1];
            for (int32_t begin = rows.start[y0]; begin < end; begin += chunk) {
                const int32_t held = end - begin < chunk ? end - begin : chunk;
                block.for_each_thread([&](int t) {
                    const int32_t x = x0 + t % kWarp;
                    if (x < W) widen(l, n, x, begin, held, t / kWarp, t % kWarp, shared);
                });
                block.for_each_thread([&](int t) {
                    if (x0 + t % kWarp >= W) return;
                    PYAD_UNROLL
                    for (int k = 0; k < outputs; ++k) {
                        const int32_t y = y0 + t / kWarp + k * warps;
                        if (y < y1)
                            sums[t][k] = blend(rows, sums[t][k], y, begin, held, t % kWarp, shared);
                    }
                });
            }
        }
        block.for_each_thread([&](int t) {
            const int32_t x = x0 + t % kWarp;
            PYAD_UNROLL
            for (int k = 0; k < outputs; ++k) {
                const int32_t y = y0 + t / kWarp + k * warps;
                if (x < W && y < y1) maps[(n * H + y) * W + x] = sums[t][k];
            }
        });
    }

    // Column x of source rows begin, ...: weighted sums over the level's pairs, then over columns.
    PYAD_DEVICE void widen(int32_t l, int64_t n, int32_t x, int32_t begin, int32_t held, int warp,
                           int lane, Shared& shared) const {
        const BandedView& columns = levels[l].columns;
        const int32_t count = columns.count[x], start = columns.start[x];
        const float* weights = columns.weights + static_cast<int64_t>(x) * columns.taps;
        for (int32_t r = warp; r < held; r += warps) {
            const int64_t at = static_cast<int64_t>(begin + r) * columns.columns + start;
            float sum = 0.0f;
            for (int32_t tap = 0; tap < count; ++tap) {
                float distance = 0.0f;
                for (int32_t k = 0; k < pairs.count; ++k) {
                    const CosinePair& pair = pairs.pair[k];
                    if (pair.level == l)
                        distance = add(distance,
                                       mul(pair.weight,
                                           distances[pair.first + n * pair.locations + at + tap]));
                }
                sum = add(sum, mul(weights[tap], distance));
            }
            shared.wide[r][lane] = sum;
        }
    }

    // The sum of row y, carried on over the source rows that are held.
    PYAD_DEVICE float blend(const BandedView& rows, float sum, int32_t y, int32_t begin,
                            int32_t held, int lane, const Shared& shared) const {
        const int32_t start = rows.start[y], count = rows.count[y];
        const float* weights = rows.weights + static_cast<int64_t>(y) * rows.taps;
        const int32_t first = start < begin ? begin - start : 0;
        const int32_t last = start + count > begin + held ? begin + held - start : count;
        for (int32_t tap = first; tap < last; ++tap)
            sum = add(sum, mul(weights[tap], shared.wide[start + tap - begin][lane]));
        return sum;
    }
};

// Maximum and sum of the values of a line, by 16 threads: thread l takes values l, l + 16, ...
constexpr int kLineThreads = 16;

// Sixteen rows of the maps: the maximum of each, and its sum as sixteen sums and a tree.
struct CosineMapRows {
    static constexpr int threads = 256;
    static constexpr int rows = threads / kLineThreads;
    struct Shared {
        float peak[threads], sum[threads];
    };

    const float* maps;
    int64_t row_count, W;
    float *peaks, *sums;

    PYAD_DEVICE void operator()(const Block& block, Shared& shared) const {
        block.for_each_thread([&](int t) {
            const int64_t row = block.x * rows + t / kLineThreads;
            float peak = float_of(kMinusInfinity), sum = 0.0f;
            if (row < row_count)
                for (int64_t x = t % kLineThreads; x < W; x += kLineThreads) {
                    const float value = maps[row * W + x];
                    peak = larger_or_nan(peak, value);
                    sum = add(sum, value);
                }
            shared.peak[t] = peak;
            shared.sum[t] = sum;
        });
        for (int half = kLineThreads / 2; half > 0; half /= 2)
            block.for_each_thread([&](int t) {
                if (t % kLineThreads >= half) return;
                shared.peak[t] = larger_or_nan(shared.peak[t], shared.peak[t + half]);
                shared.sum[t] = add(shared.sum[t], shared.sum[t + half]);
            });
        block.for_each_thread([&](int t) {
            const int64_t row = block.x * rows + t;
            if (t >= rows || row >= row_count) return;
            peaks[row] = shared.peak[t * kLineThreads];
            sums[row] = shared.sum[t * kLineThreads];
        });
    }
};

// One map: its maximum, and its mean from the sums of its rows.
struct CosineMapStatistics {
    static constexpr int threads = 32;
    struct Shared {
        float peak[threads];
        double sum[threads];
    };

    const float *peaks, *sums;
    int64_t H, W;
    float *maxima, *means;

    PYAD_DEVICE void operator()(const Block& block, Shared& shared) const {
        block.for_each_thread([&](int t) {
            float peak = float_of(kMinusInfinity);
            double sum = 0.0;
            if (t < kLineThreads)
                for (int64_t y = t; y < H; y += kLineThreads) {
                    peak = larger_or_nan(peak, peaks[block.x * H + y]);
                    sum = add(sum, static_cast<double>(sums[block.x * H + y]));
                }
            shared.peak[t] = peak;
            shared.sum[t] = sum;
        });
        for (int half = kLineThreads / 2; half > 0; half /= 2)
            block.for_each_thread([&](int t) {
                if (t >= half) return;
                shared.peak[t] = larger_or_nan(shared.peak[t], shared.peak[t + half]);
                shared.sum[t] = add(shared.sum[t], shared.sum[t + half]);
            });
        block.for_each_thread([&](int t) {
            if (t > 0) return;
            maxima[block.x] = shared.peak[0];
            means[block.x] = static_cast<float>(div(shared.sum[0], static_cast<double>(H * W)));
        });
    }
};

// The programs of one call, and their grids.
struct CosineMapCall {
    CosineDistances distances;
    CosineMapTile tile;
    CosineMapRows rows;
    CosineMapStatistics statistics;
    int64_t N;

    CosineMapCall(const std::vector<FeaturePair>& pairs, const std::vector<AxisPair>& levels,
                  int64_t N_, void* workspace, float* maps, float* maxima, float* means)
        : N(N_) {
        if (pairs.size() > kMaxPairs || levels.size() > kMaxPairs)
            throw std::invalid_argument(
                "[cosine_distance_map] expected at most 16 pairs on a CUDA device. Use the CPU "
                "form, "
                "or add the maps of two calls (sigma 0, then anomaly_map).");
        const int64_t H = levels[0].rows.rows, W = levels[0].columns.rows;
        distances = {{}, N, static_cast<float*>(workspace)};
        CosinePairs& own = distances.pairs;
        int64_t values = 0;
        for (const FeaturePair& pair : pairs) {
            const AxisPair& level = levels[pair.level];
            const int64_t locations =
                static_cast<int64_t>(level.rows.columns) * level.columns.columns;
            own.pair[own.count++] = {pair.a,
                                     pair.b,
                                     pair.stride_a,
                                     pair.stride_b,
                                     locations,
                                     values,
                                     own.blocks,
                                     pair.C,
                                     static_cast<int32_t>(pair.level),
                                     pair.weight,
                                     pair.channels_last};
            values += N * locations;
            own.blocks += N * CosineDistances::tiles_of(locations);
        }
        tile = {own,
                {},
                static_cast<int32_t>(levels.size()),
                distances.distances,
                maps,
                static_cast<int32_t>(AnomalyMapTile::tiles_along(W, CosineMapTile::width)),
                static_cast<int32_t>(AnomalyMapTile::tiles_along(H, CosineMapTile::height))};
        for (size_t l = 0; l < levels.size(); ++l) tile.levels[l] = levels[l];
        float* peaks = distances.distances + values;
        rows = {maps, N * H, W, peaks, peaks + N * H};
        statistics = {peaks, peaks + N * H, H, W, maxima, means};
        for (const Grid& grid : {blocks_of_distances(), tiles(), groups_of_rows()})
            if (grid.x >= int64_t{1} << 31)
                throw std::invalid_argument(
                    "[cosine_distance_map] expected fewer than 2^31 blocks a launch. Pass fewer "
                    "pictures at a time.");
    }
    Grid blocks_of_distances() const { return {distances.pairs.blocks}; }
    Grid tiles() const { return {N * tile.tiles_x * tile.tiles_y}; }
    Grid groups_of_rows() const {
        return {AnomalyMapTile::tiles_along(rows.row_count, CosineMapRows::rows)};
    }
    Grid maps() const { return {N}; }
};

}  // namespace pyad::cuda
