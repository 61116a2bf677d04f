#include "pyad/patch_aggregation.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "bfloat16_rows.h"
#include "pyad/parallel.h"
#include "transpose.h"
#include "weighted_sum.h"

namespace pyad {
namespace {

// Buffers of one thread, reused from call to call.
struct Scratch {
    std::vector<float> padded;  // rows of a channel, or of 8, inside a border of zeros
    std::vector<float> planes;  // (32, plane) stencil results
    std::vector<float> tile;    // (rows * w, 32) the same, dims last
    std::vector<float> wide;    // (w, 32) one source row between two
    std::vector<float> cells;   // (w, 32) one up-sampled row
};

float* sized(std::vector<float>& buffer, int64_t n) {
    if (static_cast<int64_t>(buffer.size()) < n) buffer.resize(static_cast<size_t>(n));
    return buffer.data();
}

// Floats of rows * (w + 2) cells, rounded up so that the inner loop has no remainder.
int64_t plane_size(int64_t rows, int64_t w) { return (rows * (w + 2) + 15) / 16 * 16; }

// A row of a feature map is too short for memcpy's set-up to pay. GCC would make the loop a call of
// it all the same: an eighth of a small bank's whole head.
#if defined(__GNUC__) && !defined(__clang__)
__attribute__((optimize("no-tree-loop-distribute-patterns"), noinline))
#endif
void copy_row(const float* __restrict from, int64_t n, float* __restrict to) {
    int64_t i = 0;
    for (; i + 4 <= n; i += 4) std::memcpy(to + i, from + i, 4 * sizeof(float));
    if (i == n) return;
    if (n >= 4)  // the last four once more: a loop over the rest would become a call
        std::memcpy(to + n - 4, from + n - 4, 4 * sizeof(float));
    else
        for (i = 0; i < n; ++i) to[i] = from[i];
}

// Rows [begin, end) of a channel with one more row and column of zeros on every side.
void pad(const float* __restrict channel, int64_t h, int64_t w, int64_t begin, int64_t end,
         float* __restrict padded) {
    for (int64_t y = begin - 1; y <= end; ++y, padded += w + 2) {
        padded[0] = padded[w + 1] = 0.0f;
        if (y < 0 || y >= h)
            std::fill(padded + 1, padded + 1 + w, 0.0f);
        else
            copy_row(channel + y * w, w, padded + 1);
    }
}

// The same of channels [first, first + kTurned), as far as there are so many, each in a plane of
// its own; `picture` (h, w, C) bfloat16.
void pad_turned(const uint16_t* picture, int64_t C, int64_t h, int64_t w, int64_t first,
                int64_t begin, int64_t end, int64_t plane, float* padded) {
    const int64_t lanes = std::min(kTurned, C - first);
    for (int64_t y = begin - 1; y <= end; ++y, padded += w + 2) {
        const bool outside = y < 0 || y >= h;
        for (int64_t c = 0; c < lanes; ++c) {
            float* row = padded + c * plane;
            row[0] = row[w + 1] = 0.0f;
            if (outside) std::fill(row + 1, row + 1 + w, 0.0f);
        }
        if (!outside) turn(picture + y * w * C + first, C, w, lanes, plane, padded + 1);
    }
}

// Dims [first, last) at the level's own resolution, rows [begin, end): planes[d][y * (w + 2) + x].
void stencils(const LinearKernels& kernels, const AggregationPlan::Level& level,
              const FeatureMap& map, int64_t n, int64_t first, int64_t last, int64_t begin,
              int64_t end, Scratch& scratch) {
    const int64_t padded_w = map.w + 2, plane = plane_size(end - begin, map.w);
    const int64_t C = level.entries.channels, picture = n * C * map.h * map.w;
    // The last stencils read a little past the border; what they give is never used.
    const int64_t padded_plane = plane + 2 * padded_w + 2;
    float* room = sized(scratch.padded, padded_plane * (map.bfloat16 ? kTurned : 1));
    const float* padded = room;
    float* planes = sized(scratch.planes, kCell * plane);
    int64_t offsets[9];
    int32_t in_padded = -1;
    for (int64_t d = first; d < last; ++d) {
        const int64_t first_run = level.at[d - level.first],
                      last_run = level.at[d - level.first + 1];
        for (int64_t r = first_run; r < last_run; ++r) {
            const AggregationPlan::Run& run = level.runs[r];
            if (run.channel != in_padded) {
                const int64_t lane = map.bfloat16 ? run.channel % kTurned : 0;
                if (!map.bfloat16)
                    pad(map.data + picture + run.channel * map.h * map.w, map.h, map.w, begin, end,
                        room);
                else if (in_padded < 0 || in_padded / kTurned != run.channel / kTurned)
                    pad_turned(map.bfloat16 + picture, C, map.h, map.w, run.channel - lane, begin,
                               end, padded_plane, room);
                padded = room + lane * padded_plane;
                in_padded = run.channel;
            }
            for (int32_t e = run.begin; e < run.end; ++e) {
                const int64_t position = level.entries.position[e];
                offsets[e - run.begin] = position / 3 * padded_w + position % 3;
            }
            kernels.weighted_sum(padded, offsets, level.entries.weight.data() + run.begin,
                                 run.end - run.begin, plane, r > first_run,
                                 planes + (d - first) * plane);
        }
    }
}

// Up-samples the tile, which holds source rows [begin, ...), to output rows [y0, y1).
void up_sample(const LinearKernels& kernels, const FeatureMap& map, int64_t begin, int64_t y0,
               int64_t y1, int64_t lanes, bool accumulate, int64_t dims, Scratch& scratch,
               float* out) {
    const Banded &rows = *map.rows, &columns = *map.columns;
    const int64_t length = map.w * kCell, w = columns.rows;
    const float* tile = scratch.tile.data();
    float* wide = sized(scratch.wide, length);
    float* cells = sized(scratch.cells, w * kCell);
    const int64_t offsets[2] = {0, length};  // bilinear: two rows at most
    const bool direct = lanes == kCell && !accumulate;
    for (int64_t y = y0; y < y1; ++y, out += w * dims) {
        kernels.weighted_sum(tile + (rows.start[y] - begin) * length, offsets, rows.row(y),
                             rows.count[y], length, false, wide);
        kernels.blend_cells(wide, columns.start.data(), columns.count.data(),
                            columns.weights.data(), columns.taps, w, direct ? dims : kCell,
                            direct ? out : cells);
        if (direct) continue;
        for (int64_t x = 0; x < w; ++x)
            for (int64_t l = 0; l < lanes; ++l) {
                float& to = out[x * dims + l];
                to = accumulate ? to + cells[x * kCell + l] : cells[x * kCell + l];
            }
    }
}

// Rows of one piece: strips keep the planes of a block inside the second-level cache.
int64_t strip_rows(int64_t w) { return std::max<int64_t>(4, 4096 / (w + 2)); }

// Dims of one block in rows [y0, y1) of picture n; out is (N, h, w, D).
void aggregate_block(const AggregationPlan& plan, const std::vector<FeatureMap>& features,
                     const AggregationPlan::Block& block, int64_t n, int64_t y0, int64_t y1,
                     float* out) {
    static thread_local Scratch scratch;
    const LinearKernels& kernels = linear_kernels();
    const int64_t h = features[0].h, w = features[0].w, dims = plan.dims;
    const int64_t lanes = block.last - block.first;
    float* target = out + (n * h + y0) * w * dims + block.first;
    bool accumulate = false;
    for (const int32_t l : block.levels) {
        const FeatureMap& map = features[l];
        const AggregationPlan::Level& level = plan.levels[l];
        const int64_t s0 = map.rows ? map.rows->first(y0) : y0;
        const int64_t s1 = map.rows ? map.rows->last(y1) : y1;
        stencils(kernels, level, map, n, block.first, block.last, s0, s1, scratch);
        const float* planes = scratch.planes.data();
        if (map.rows) {
            float* tile = sized(scratch.tile, (s1 - s0) * map.w * kCell);
            transpose(planes, plane_size(s1 - s0, map.w), s1 - s0, map.w, lanes, false, kCell,
                      tile);
            up_sample(kernels, map, s0, y0, y1, lanes, accumulate, dims, scratch, target);
        } else {
            transpose(planes, plane_size(s1 - s0, map.w), s1 - s0, map.w, lanes, accumulate, dims,
                      target);
        }
        accumulate = true;
    }
}

}  // namespace

void patch_aggregation(const AggregationPlan& plan, const std::vector<FeatureMap>& features,
                       int64_t N, float* out) {
    const int64_t h = features[0].h, w = features[0].w, strip = strip_rows(w);
    const int64_t strips = (h + strip - 1) / strip,
                  blocks = static_cast<int64_t>(plan.blocks.size());
    // Waking another thread costs about 40 us: a piece has so many products that it lasts longer.
    const int64_t grain = 1 + 800'000 / (9 * kCell * w * std::min(strip, h));
    parallel_for(N * strips * blocks, grain, [&](int64_t begin, int64_t end) {
        for (int64_t item = begin; item < end; ++item) {
            const int64_t n = item / blocks / strips, y0 = item / blocks % strips * strip;
            aggregate_block(plan, features, plan.blocks[item % blocks], n, y0,
                            std::min(h, y0 + strip), out);
        }
    });
}

void aggregate_rows(const AggregationPlan& plan, const std::vector<FeatureMap>& features, int64_t n,
                    int64_t y0, int64_t y1, float* out) {
    const int64_t strip = strip_rows(features[0].w);
    for (int64_t y = y0; y < y1; y += strip)
        for (const AggregationPlan::Block& block : plan.blocks)
            aggregate_block(plan, features, block, n, y, std::min(y1, y + strip), out);
}

}  // namespace pyad
