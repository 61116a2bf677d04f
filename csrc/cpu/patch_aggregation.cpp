#include "pyad/patch_aggregation.h"

#include <algorithm>
#include <vector>

#include "pyad/parallel.h"
#include "transpose.h"
#include "weighted_sum.h"

namespace pyad {
namespace {

constexpr int64_t kBlock = 16;

// Buffers of one thread, reused from call to call.
struct Scratch {
    std::vector<float> padded;  // rows of one channel inside a border of zeros
    std::vector<float> planes;  // (16, plane) stencil results
    std::vector<float> tile;    // (rows * w, 16) the same, dims last
    std::vector<float> wide;    // (w, 16) one up-sampled row
};

float* sized(std::vector<float>& buffer, int64_t n) {
    if (static_cast<int64_t>(buffer.size()) < n) buffer.resize(static_cast<size_t>(n));
    return buffer.data();
}

// Rows [begin, end) of a channel with one more row and column of zeros on every side.
void pad(const float* __restrict channel, int64_t h, int64_t w, int64_t begin, int64_t end,
         float* __restrict padded) {
    for (int64_t y = begin - 1; y <= end; ++y, padded += w + 2) {
        padded[0] = padded[w + 1] = 0.0f;
        if (y < 0 || y >= h)
            std::fill(padded + 1, padded + 1 + w, 0.0f);
        else
            std::copy(channel + y * w, channel + (y + 1) * w, padded + 1);
    }
    padded[0] = padded[1] = 0.0f;  // the last row's stencils read past their border
}

// Dims [first, last) at the level's own resolution, rows [begin, end): planes[d][y * (w + 2) + x].
void stencils(const AggregationPlan::Level& level, const float* feature, const FeatureMap& map,
              int64_t first, int64_t last, int64_t begin, int64_t end, Scratch& scratch) {
    const int64_t padded_w = map.w + 2, plane = (end - begin) * padded_w;
    float* padded = sized(scratch.padded, plane + 2 * padded_w + 2);
    float* planes = sized(scratch.planes, kBlock * plane);
    int32_t in_padded = -1;
    for (int64_t d = first; d < last; ++d) {
        float* out = planes + (d - first) * plane;
        bool accumulate = false;
        for (int64_t r = level.at[d - level.first]; r < level.at[d - level.first + 1]; ++r) {
            const AggregationPlan::Run& run = level.runs[r];
            if (run.channel != in_padded) {
                pad(feature + run.channel * map.h * map.w, map.h, map.w, begin, end, padded);
                in_padded = run.channel;
            }
            const int32_t* position = level.entries.position.data() + run.begin;
            const float* weight = level.entries.weight.data() + run.begin;
            const auto offset = [=](int64_t t) {
                return (position[t] / 3) * padded_w + position[t] % 3;
            };
            if (accumulate)
                weighted_sum<true>(padded, offset, weight, run.end - run.begin, plane, out);
            else
                weighted_sum<false>(padded, offset, weight, run.end - run.begin, plane, out);
            accumulate = true;
        }
    }
}

void add_lanes(const float* __restrict from, int64_t lanes, bool accumulate,
               float* __restrict out) {
    if (lanes == kBlock && !accumulate)
        std::copy(from, from + kBlock, out);
    else
        for (int64_t l = 0; l < lanes; ++l) out[l] = accumulate ? out[l] + from[l] : from[l];
}

// Up-samples the tile, which holds source rows [begin, ...), to output rows [y0, y1).
void up_sample(const FeatureMap& map, int64_t begin, int64_t y0, int64_t y1, int64_t lanes,
               bool accumulate, int64_t dims, Scratch& scratch, float* out) {
    const int64_t length = map.w * kBlock;
    const float* tile = scratch.tile.data();
    float* wide = sized(scratch.wide, length);
    for (int64_t y = y0; y < y1; ++y) {
        const float* source = tile + (map.rows->start[y] - begin) * length;
        weighted_sum<false>(
            source, [=](int64_t t) { return t * length; }, map.rows->row(y), map.rows->count[y],
            length, wide);
        for (int64_t x = 0; x < map.columns->rows; ++x, out += dims) {
            float sum[kBlock];
            weighted_sum<false>(
                wide + map.columns->start[x] * kBlock, [](int64_t t) { return t * kBlock; },
                map.columns->row(x), map.columns->count[x], kBlock, sum);
            add_lanes(sum, lanes, accumulate, out);
        }
    }
}

}  // namespace

void patch_aggregation(const AggregationPlan& plan, const std::vector<FeatureMap>& features,
                       int64_t N, float* out) {
    const int64_t h = features[0].h, w = features[0].w, dims = plan.dims;
    // Strips of rows keep the planes of a block inside the second-level cache.
    const int64_t strip = std::max<int64_t>(4, 4096 / (w + 2));
    const int64_t strips = (h + strip - 1) / strip,
                  blocks = static_cast<int64_t>(plan.blocks.size());
    parallel_for(N * strips * blocks, 4, [&](int64_t begin, int64_t end) {
        static thread_local Scratch scratch;
        for (int64_t item = begin; item < end; ++item) {
            const AggregationPlan::Block& block = plan.blocks[item % blocks];
            const int64_t n = item / blocks / strips;
            const int64_t y0 = item / blocks % strips * strip, y1 = std::min(h, y0 + strip);
            const int64_t lanes = block.last - block.first;
            float* target = out + (n * h + y0) * w * dims + block.first;
            bool accumulate = false;
            for (const int32_t l : block.levels) {
                const FeatureMap& map = features[l];
                const AggregationPlan::Level& level = plan.levels[l];
                const float* feature = map.data + n * level.entries.channels * map.h * map.w;
                const int64_t s0 = map.rows ? map.rows->first(y0) : y0;
                const int64_t s1 = map.rows ? map.rows->last(y1) : y1;
                stencils(level, feature, map, block.first, block.last, s0, s1, scratch);
                const float* planes = scratch.planes.data();
                if (map.rows) {
                    float* tile = sized(scratch.tile, (s1 - s0) * map.w * kBlock);
                    transpose(planes, s1 - s0, map.w, lanes, false, kBlock, tile);
                    up_sample(map, s0, y0, y1, lanes, accumulate, dims, scratch, target);
                } else {
                    transpose(planes, s1 - s0, map.w, lanes, accumulate, dims, target);
                }
                accumulate = true;
            }
        }
    });
}

}  // namespace pyad
