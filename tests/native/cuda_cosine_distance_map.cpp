// csrc/cuda/cosine_distance_map.cuh on the host: the bits of the CPU kernel.
#include "check.h"
#include "cosine_distance_map.cuh"
#include "cosine_pairs.h"
#include "cuda_tables.h"
#include "rows.h"

namespace {

using check::CosineCase;
using check::CosineMaps;
using check::Pairs;

const CosineCase kCases[] = {
    {3, {{300, 9, 5}}, 33, 16},  // more groups than a round holds, tiles that are not full
    {1, {{8, 100, 3}}, 17, 33},  // more source rows than a chunk holds
    {2, {{256, 8, 4}, {9, 2, 3}}, 40, 70},
    {0, {{4, 3, 3}}, 8, 8},
};

// The block programs' results; with finite features every cell of the workspace is written.
CosineMaps run_blocks(const Pairs& pairs, bool descending, bool finite = true) {
    std::vector<check::HostTables> tables;
    for (const auto& axis : pairs.axes) tables.emplace_back(*axis);
    std::vector<pyad::cuda::AxisPair> axes;
    for (size_t l = 0; l < pairs.levels.size(); ++l)
        axes.push_back({tables[2 * l].view(), tables[2 * l + 1].view()});
    int64_t locations = 0;
    for (size_t k = 0; k < pairs.pairs.size(); ++k) locations += pairs.locations(k);
    check::Poisoned<float> workspace(pairs.N * (locations + 2 * pairs.H));
    check::Poisoned<float> maps(pairs.N * pairs.H * pairs.W), maxima(pairs.N), means(pairs.N);
    const pyad::cuda::CosineMapCall call(pairs.pairs, axes, pairs.N, workspace.data(), maps.data(),
                                         maxima.data(), means.data());
    pyad::cuda::run_on_host(call.distances, call.blocks_of_distances(), descending);
    pyad::cuda::run_on_host(call.tile, call.tiles(), descending);
    pyad::cuda::run_on_host(call.rows, call.groups_of_rows(), descending);
    pyad::cuda::run_on_host(call.statistics, call.maps(), descending);
    if (finite) CHECK_EQ(workspace.untouched(), 0);
    return {
        {maps.begin(), maps.end()}, {maxima.begin(), maxima.end()}, {means.begin(), means.end()}};
}

void check_case(const CosineCase& c, check::Random& random) {
    Pairs pairs(c, random);
    const CosineMaps expected = c.N == 0 ? CosineMaps{} : run_pairs(pairs);
    for (const bool channels_last : {false, true})
        for (const bool descending : {false, true}) {
            pairs.lay_out(channels_last);
            CHECK(run_blocks(pairs, descending) == expected);
        }
}

}  // namespace

PYAD_TEST(maps_of_pairs_have_the_bits_of_the_cpu_kernel) {
    check::Random random(11);
    for (const CosineCase& c : kCases) check_case(c, random);
    for (const CosineCase& c : check::kCosineCases) check_case(c, random);
}

PYAD_TEST(features_beyond_the_limits_are_seen_in_maximum_and_mean) {
    check::Random random(12);
    Pairs pairs({3, {{20, 9, 8}, {9, 4, 5}}, 40, 37}, random);
    for (const float bad : {check::kNaN, check::kInfinity, -check::kInfinity, 2e19f})
        for (const bool of_b : {false, true})
            for (int64_t at = 0; at < 20 * 9 * 8; at += 97) {
                Pairs broken = pairs;
                (of_b ? broken.b : broken.a)[0][20 * 9 * 8 + at] = bad;
                broken.lay_out(at % 2 == 0);
                const CosineMaps maps = run_blocks(broken, false, false);
                for (int64_t n = 0; n < 3; ++n) {
                    CHECK_EQ(std::isnan(maps.maxima[n]), n == 1);
                    CHECK_EQ(std::isnan(maps.means[n]), n == 1);
                }
            }
}

PYAD_TEST(more_pairs_or_blocks_than_the_device_takes_are_refused) {
    check::Random random(13);
    Pairs pairs({1, {{4, 3, 3}}, 8, 8}, random);
    const check::HostTables rows(*pairs.axes[0]), columns(*pairs.axes[1]);
    const std::vector<pyad::cuda::AxisPair> axes{{rows.view(), columns.view()}};
    float cell = 0.0f;
    const auto make = [&](const std::vector<pyad::FeaturePair>& of, int64_t N) {
        pyad::cuda::CosineMapCall(of, axes, N, &cell, &cell, &cell, &cell);
    };
    CHECK_THROWS(make(std::vector<pyad::FeaturePair>(17, pairs.pairs[0]), 1), "at most 16 pairs");
    CHECK_THROWS(make(pairs.pairs, int64_t{1} << 31), "fewer pictures at a time");
}
