// Feature maps of several levels to one descriptor per patch, as a sparse linear map.
//
//   own_l[n, y, x, d] = sum over (d, c, p, weight) of level l of
//                       weight * in_l[n, c, y + p / 3 - 1, x + p % 3 - 1]      (zero outside the
//                       map)
//   out[n, y, x, d]   = sum over l of up_l(own_l)[n, y, x, d]
//
// in_l  (N, C_l, h_l, w_l) float32, or (N, h_l, w_l, C_l) bfloat16, whose values are used exactly;
// out   (N, h, w, D) float32 on the grid of level 0
// up_l  bilinear up-sampling to level 0's grid (half-pixel centres, clamped), nothing for level 0
//
// Source: PatchCore (Roth et al., 2022), eqs. 1-3, in the form of its official code (unfold,
// resize, two adaptive average pools). Pooling runs over channels and window positions, resizing
// over the grid: they commute, so the pools become 3x3 stencils at each level's own resolution and
// nothing is unfolded. pyad_edge/ops/patch_aggregation.py makes the map in float64.
//
// Sums run in the order written, window positions of a channel first, without fused operations: the
// result does not depend on threads, batch size or instruction set. NaN spreads to the patches that
// see it. Limits: 2^31 entries per level.
#pragma once

#include <cstdint>
#include <vector>

#include "pyad/banded.h"

namespace pyad {

// The entries of one level, sorted by (dim, channel, position).
struct AggregationLevel {
    int64_t channels;
    std::vector<int32_t> dim, channel, position;
    std::vector<float> weight;
};

class AggregationPlan {
  public:
    // Throws std::invalid_argument unless dims is positive, every dim in [0, dims) is written, each
    // level writes one contiguous range of dims, and entries are sorted and inside their ranges.
    AggregationPlan(int64_t dims, std::vector<AggregationLevel> levels);

    // Window positions of one channel: entries [begin, end) of its level.
    struct Run {
        int32_t channel, begin, end;
    };
    struct Level {
        AggregationLevel entries;
        int64_t first, last;      // dims that this level writes
        std::vector<Run> runs;    // of all dims, in order
        std::vector<int64_t> at;  // runs of dim d: [at[d - first], at[d - first + 1])
    };
    // Up to 32 neighbouring dims that the same levels write.
    struct Block {
        int64_t first, last;
        std::vector<int32_t> levels;
    };

    int64_t dims;
    std::vector<Level> levels;
    std::vector<Block> blocks;
};

struct FeatureMap {
    const float* data;  // (N, C, h, w); null where they are bfloat16
    int64_t h, w;
    const Banded* rows;  // up-sampling to level 0's grid; null where the grid is the same
    const Banded* columns;
    const uint16_t* bfloat16 = nullptr;  // (N, h, w, C), what a network in bf16 leaves
};

void patch_aggregation(const AggregationPlan& plan, const std::vector<FeatureMap>& features,
                       int64_t N, float* out);

// Rows [y0, y1) of picture n of the same, on the calling thread; out is the whole (N, h, w, D).
void aggregate_rows(const AggregationPlan& plan, const std::vector<FeatureMap>& features, int64_t n,
                    int64_t y0, int64_t y1, float* out);

}  // namespace pyad
