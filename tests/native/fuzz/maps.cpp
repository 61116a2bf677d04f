// cosine_distance_map.h and correlation_divergence.h.
#include <algorithm>

#include "parts.h"
#include "pyad/correlation_divergence.h"
#include "pyad/cosine_distance_map.h"
#include "target.h"

using fuzz::Bytes;
using fuzz::Exact;

namespace {

// N pictures of `size` values each, `stride` apart: next to each other, with gaps, all the same, or
// last one first.
const float* strided(Bytes& bytes, int64_t N, int64_t size, std::vector<Exact<float>>& kept,
                     int64_t& stride) {
    stride = size + (bytes.one_in(4) ? bytes.below(9) : 0);
    if (bytes.one_in(8)) stride = 0;
    if (bytes.one_in(8)) stride = -stride;
    const int64_t reach = stride * (N - 1);
    kept.push_back(bytes.floats(std::max(reach, -reach) + size, !bytes.one_in(4)));
    return kept.back().data() - std::min<int64_t>(0, reach);
}

}  // namespace

// csrc/bindings/register_cosine_distance_map.cpp checks pairs, layouts, levels and outputs.
PYAD_FUZZ(cosine_distance_map) {
    const int64_t N = bytes.within(1, 3), H = bytes.size(1, 70), W = bytes.size(1, 70);
    std::vector<std::unique_ptr<pyad::Banded>> axes;
    std::vector<pyad::MapLevel> levels;
    for (int64_t l = bytes.within(1, 3); l > 0; --l) {
        for (const int64_t side : {H, W})
            axes.push_back(std::make_unique<pyad::Banded>(
                fuzz::banded(bytes, side, bytes.size(1, 20), bytes.within(1, 8))));
        levels.push_back({axes[axes.size() - 2].get(), axes.back().get()});
    }
    const int64_t count = static_cast<int64_t>(levels.size());
    std::vector<Exact<float>> kept;
    std::vector<pyad::FeaturePair> pairs;
    for (int64_t k = count + bytes.below(3) - 1; k >= 0; --k) {  // every level has a pair
        pyad::FeaturePair pair{};
        pair.level = k < count ? k : bytes.below(count);
        pair.C = bytes.size(1, 40);
        pair.channels_last = bytes.one_in(2);
        pair.weight = bytes.number();
        const pyad::MapLevel& level = levels[pair.level];
        const int64_t size = pair.C * level.rows->columns * level.columns->columns;
        pair.a = strided(bytes, N, size, kept, pair.stride_a);
        pair.b = strided(bytes, N, size, kept, pair.stride_b);
        pairs.push_back(pair);
    }
    Exact<float> maps(N * H * W, bytes.below(16)), maxima(N), means(N);
    const auto fault =
        pyad::cosine_distance_map(pairs, levels, N, maps.data(), maxima.data(), means.data());
    if (!fault) return;
    fuzz::expect(fault->pair >= 0 && fault->pair < static_cast<int64_t>(pairs.size()), "a pair");
    const pyad::MapLevel& level = levels[pairs[fault->pair].level];
    fuzz::expect(fault->n >= 0 && fault->n < N && fault->y >= 0 && fault->x >= 0 &&
                     fault->y < level.rows->columns && fault->x < level.columns->columns,
                 "a location");
}

// csrc/bindings/register_correlation_divergence.cpp checks shapes and the scratch's size; values
// are checked by pyad_edge/ops/correlation_divergence.py, and need not be.
PYAD_FUZZ(correlation_divergence) {
    const pyad::CorrelationShape shape{bytes.below(3),    bytes.within(1, 3), bytes.size(1, 12),
                                       bytes.size(1, 12), bytes.size(1, 40),  bytes.one_in(2)};
    const int64_t rows = shape.N * shape.heads * shape.L();
    const Exact<float> queries = bytes.floats(rows * shape.d);
    const Exact<float> keys =
        bytes.floats((shape.shared_keys ? 1 : shape.N) * shape.heads * shape.L() * shape.d);
    const Exact<float> sigma_x = bytes.floats(rows), sigma_y = bytes.floats(rows);
    Exact<float> scratch(pyad::correlation_scratch(shape), bytes.below(16));
    Exact<float> per_head(rows, bytes.below(16)), divergence(shape.N * shape.L());
    pyad::correlation_divergence(shape, queries.data(), keys.data(), sigma_x.data(), sigma_y.data(),
                                 bytes.number(), scratch.data(), per_head.data(),
                                 divergence.data());
}
