// pyad/cosine_distance_map.h.
#include "pyad/cosine_distance_map.h"

#include <algorithm>
#include <thread>

#include "axes.h"
#include "check.h"
#include "cosine_pairs.h"
#include "digest.h"
#include "levels.h"
#include "rows.h"

namespace {

using check::CosineCase;
using check::CosineMaps;
using check::Pairs;
using check::run_pairs;

// (N, h * w) of pair k.
std::vector<double> distances(const Pairs& pairs, size_t k) {
    const int64_t C = pairs.pairs[k].C, plane = pairs.locations(k);
    std::vector<double> out;
    for (int64_t i = 0; i < pairs.N * plane; ++i) {
        double ab = 0.0, aa = 0.0, bb = 0.0;
        for (int64_t c = 0; c < C; ++c) {
            const int64_t at = (i / plane * C + c) * plane + i % plane;
            const double a = pairs.a[k][at], b = pairs.b[k][at];
            ab += a * b;
            aa += a * a;
            bb += b * b;
        }
        out.push_back(1.0 - ab / (std::max(std::sqrt(aa), 1e-8) * std::max(std::sqrt(bb), 1e-8)));
    }
    return out;
}

}  // namespace

PYAD_TEST(maps_are_those_of_float64_and_the_same_in_every_form) {
    check::Random random(1);
    for (const CosineCase& c : check::kCosineCases) {
        Pairs pairs(c, random);
        const CosineMaps first = run_pairs(pairs);
        std::vector<std::vector<double>> of_pairs;
        for (size_t k = 0; k < pairs.pairs.size(); ++k) of_pairs.push_back(distances(pairs, k));
        for (int64_t n = 0; n < c.N; ++n) {
            const float* map = first.maps.data() + n * c.H * c.W;
            double sum = 0.0;
            for (int64_t y = 0; y < c.H; ++y)
                for (int64_t x = 0; x < c.W; ++x) {
                    double expected = 0.0;
                    for (size_t k = 0; k < pairs.pairs.size(); ++k) {
                        const pyad::MapLevel& level = pairs.levels[pairs.pairs[k].level];
                        expected += static_cast<double>(pairs.pairs[k].weight) *
                                    check::apply(*level.rows, y, [&](int64_t i) {
                                        return check::apply(*level.columns, x, [&](int64_t j) {
                                            return of_pairs[k][n * pairs.locations(k) +
                                                               i * level.columns->columns + j];
                                        });
                                    });
                    }
                    CHECK_NEAR(map[y * c.W + x], expected, 1e-5);
                    sum += static_cast<double>(map[y * c.W + x]);
                }
            CHECK_EQ(first.maxima[n], *std::max_element(map, map + c.H * c.W));
            CHECK_NEAR(first.means[n], sum / static_cast<double>(c.H * c.W), 1e-6);
        }
        check::at_each_level([&](pyad::Level) {
            for (const int threads : {1, 3}) {
                const check::Threads limit(threads);
                for (const bool channels_last : {false, true}) {
                    pairs.lay_out(channels_last);
                    CHECK(run_pairs(pairs) == first);
                }
            }
        });
    }
}

PYAD_TEST(the_first_location_beyond_the_limits_is_reported) {
    check::Random random(2);
    const CosineCase c{2, {{9, 4, 5}, {20, 3, 33}}, 20, 31};
    Pairs pairs(c, random);
    check::at_each_level([&](pyad::Level) {
        for (const float bad : {check::kNaN, check::kInfinity, -check::kInfinity, 2e19f})
            for (const bool of_b : {false, true})
                for (const bool channels_last : {false, true}) {
                    Pairs broken = pairs;
                    // Channel 7, row 2, column 30 of the second picture, and one after it.
                    for (const int64_t location : {2 * 33 + 30, 2 * 33 + 31})
                        (of_b ? broken.b : broken.a)[1][(1 * 20 + 7) * 99 + location] = bad;
                    broken.lay_out(channels_last);
                    std::vector<float> maps(2 * 20 * 31), maxima(2), means(2);
                    const auto fault = pyad::cosine_distance_map(
                        broken.pairs, broken.levels, 2, maps.data(), maxima.data(), means.data());
                    CHECK(fault.has_value());
                    if (!fault) continue;
                    CHECK_EQ(fault->pair, 1);
                    CHECK_EQ(fault->n, 1);
                    CHECK_EQ(fault->y, 2);
                    CHECK_EQ(fault->x, 30);
                }
    });
}

PYAD_TEST(zero_vectors_have_distance_one) {
    check::Random random(3);
    Pairs pairs({1, {{6, 2, 2}}, 2, 3}, random);
    for (std::vector<float>* values : {&pairs.a[0], &pairs.a[1], &pairs.b[1]})
        std::fill(values->begin(), values->end(), 0.0f);
    for (const bool channels_last : {false, true}) {
        pairs.lay_out(channels_last);
        const float weights = pairs.pairs[0].weight + pairs.pairs[1].weight;
        for (const float value : run_pairs(pairs).maps) CHECK_NEAR(value, weights, 1e-6);
    }
}

PYAD_TEST(several_threads_make_maps_of_pairs_at_once) {
    check::Random random(4);
    const check::Threads limit(2);
    std::vector<std::thread> callers;
    std::vector<Pairs> pairs;
    for (int caller = 0; caller < 4; ++caller)
        pairs.emplace_back(CosineCase{1 + caller, {{20, 9, 30}, {33, 5, 5}}, 40 + caller, 33},
                           random);
    for (const Pairs& own : pairs)
        callers.emplace_back([&own] {
            const CosineMaps first = run_pairs(own);
            for (int round = 0; round < 5; ++round) CHECK(run_pairs(own) == first);
        });
    for (std::thread& caller : callers) caller.join();
}

PYAD_TEST(the_same_maps_of_pairs_on_every_architecture) {
    check::at_each_level([](pyad::Level) {
        check::Random random(5);
        check::Digest digest;
        for (const CosineCase& c : check::kCosineCases) {
            const CosineMaps maps = run_pairs(Pairs(c, random));
            digest.add(maps.maps.data(), static_cast<int64_t>(maps.maps.size()));
            digest.add(maps.maxima.data(), c.N).add(maps.means.data(), c.N);
        }
        CHECK_EQ(digest.value(), 3713115349u);
    });
}
