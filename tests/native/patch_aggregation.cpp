// pyad/patch_aggregation.h: random sparse maps against float64, every level.
#include "pyad/patch_aggregation.h"

#include <cstring>
#include <memory>
#include <thread>

#include "axes.h"
#include "check.h"
#include "digest.h"
#include "levels.h"
#include "rows.h"

namespace {

struct Level {
    int64_t C, h, w, first, last;  // its grid, and the dims that it writes
};
struct Case {
    int64_t N, dims;
    std::vector<Level> levels;
};
const Case kCases[] = {
    {1, 1, {{1, 1, 1, 0, 1}}},
    {2, 24, {{8, 10, 10, 0, 9}, {16, 5, 5, 9, 24}}},
    {2, 37, {{6, 29, 17, 0, 20}, {10, 15, 9, 15, 37}}},  // dims that two levels write
    {1, 80, {{5, 6, 7, 0, 80}, {7, 3, 4, 0, 80}, {9, 2, 2, 33, 70}}},
    {3, 64, {{4, 5, 3, 0, 32}, {4, 5, 3, 32, 64}}},  // the same grid, whole cells
    {1, 12, {{3, 3, 4, 0, 6}, {2, 7, 6, 6, 12}}},    // a deeper level on a finer grid
    {1, 33, {{12, 90, 62, 0, 33}}},                  // several strips
};

// Each dim takes one to three channels, each with some of the nine window positions.
pyad::AggregationLevel entries_of(const Level& level, check::Random& random) {
    pyad::AggregationLevel out{level.C, {}, {}, {}, {}};
    for (int64_t d = level.first; d < level.last; ++d) {
        const int64_t first = random.below(level.C);
        for (int64_t c = first; c < std::min(level.C, first + 1 + random.below(3)); ++c) {
            const int64_t always = random.below(9);
            for (int64_t p = 0; p < 9; ++p) {
                if (p != always && random.below(3) == 0) continue;
                out.dim.push_back(static_cast<int32_t>(d));
                out.channel.push_back(static_cast<int32_t>(c));
                out.position.push_back(static_cast<int32_t>(p));
                out.weight.push_back(random.uniform());
            }
        }
    }
    return out;
}

// A plan with its features and up-samplings.
struct Work {
    Work(const Case& c, check::Random& random, check::Kind kind) : c(c) {
        const Level& grid = c.levels[0];
        rows.reserve(c.levels.size());
        columns.reserve(c.levels.size());
        for (const Level& level : c.levels) {
            entries.push_back(entries_of(level, random));
            features.push_back(
                check::rows_of(kind, c.N, level.C * level.h * level.w, random).values);
            rows.push_back(check::bilinear(level.h, grid.h));
            columns.push_back(check::bilinear(level.w, grid.w));
            const bool same = level.h == grid.h && level.w == grid.w;
            maps.push_back({features.back().data(), level.h, level.w, same ? nullptr : &rows.back(),
                            same ? nullptr : &columns.back()});
        }
        plan = std::make_unique<pyad::AggregationPlan>(c.dims, entries);
    }
    Work(const Work&) = delete;
    Work& operator=(const Work&) = delete;

    std::vector<float> run() const {
        check::Poisoned<float> out(c.N * c.levels[0].h * c.levels[0].w * c.dims);
        pyad::patch_aggregation(*plan, maps, c.N, out.data());
        CHECK_EQ(out.untouched(), 0);
        return {out.begin(), out.end()};
    }

    // The equation of the contract in float64: (N, h, w, D).
    std::vector<double> expected() const {
        const int64_t h = c.levels[0].h, w = c.levels[0].w;
        std::vector<double> out(static_cast<size_t>(c.N * h * w * c.dims), 0.0);
        for (size_t l = 0; l < c.levels.size(); ++l)
            for (int64_t n = 0; n < c.N; ++n) add_level(l, n, out.data() + n * h * w * c.dims);
        return out;
    }

    void add_level(size_t l, int64_t n, double* out) const {
        const Level &level = c.levels[l], &grid = c.levels[0];
        const pyad::AggregationLevel& e = entries[l];
        std::vector<double> own(static_cast<size_t>(c.dims * level.h * level.w), 0.0);
        const float* in = features[l].data() + n * level.C * level.h * level.w;
        for (size_t i = 0; i < e.dim.size(); ++i)
            for (int64_t y = 0; y < level.h; ++y)
                for (int64_t x = 0; x < level.w; ++x) {
                    const int64_t v = y + e.position[i] / 3 - 1, u = x + e.position[i] % 3 - 1;
                    if (v < 0 || v >= level.h || u < 0 || u >= level.w) continue;
                    own[(e.dim[i] * level.h + y) * level.w + x] +=
                        static_cast<double>(e.weight[i]) *
                        in[(e.channel[i] * level.h + v) * level.w + u];
                }
        for (int64_t y = 0; y < grid.h; ++y)
            for (int64_t x = 0; x < grid.w; ++x)
                for (int64_t d = level.first; d < level.last; ++d)
                    out[(y * grid.w + x) * c.dims + d] += check::apply(rows[l], y, [&](int64_t i) {
                        return check::apply(columns[l], x, [&](int64_t j) {
                            return own[(d * level.h + i) * level.w + j];
                        });
                    });
    }

    const Case& c;
    std::vector<pyad::AggregationLevel> entries;
    std::vector<std::vector<float>> features;
    std::vector<pyad::Banded> rows, columns;
    std::vector<pyad::FeatureMap> maps;
    std::unique_ptr<pyad::AggregationPlan> plan;
};

}  // namespace

PYAD_TEST(descriptors_are_those_of_float64_and_the_same_at_every_level) {
    check::Random random(1);
    for (const Case& c : kCases)
        for (const auto& [kind, scale] :
             {std::pair{check::Kind::normal, 1.0}, std::pair{check::Kind::denormal, 0x1p-140},
              std::pair{check::Kind::overflow, 1e25}}) {
            const Work work(c, random, kind);
            const std::vector<float> first = work.run();
            const std::vector<double> expected = work.expected();
            for (size_t i = 0; i < first.size(); ++i)
                CHECK_NEAR(first[i], expected[i], 2e-5 * scale + 100.0 * 0x1p-149);
            check::at_each_level([&](pyad::Level) {
                for (const int threads : {1, 3}) {
                    const check::Threads limit(threads);
                    const std::vector<float> again = work.run();
                    CHECK_SAME_BITS(again.data(), first.data(), first.size());
                }
            });
        }
}

PYAD_TEST(bfloat16_channels_last_gives_the_bits_of_float32) {
    check::Random random(4);
    for (const Case& c : kCases) {
        Work work(c, random, check::Kind::normal);
        // The upper halves of the features: once as they are, channels last, once as float32.
        std::vector<std::unique_ptr<uint16_t[]>> halves;
        std::vector<pyad::FeatureMap> coarse = work.maps;
        for (size_t l = 0; l < c.levels.size(); ++l) {
            const Level& level = c.levels[l];
            const int64_t pixels = level.h * level.w, count = c.N * level.C * pixels;
            halves.push_back(std::make_unique<uint16_t[]>(count));  // of its size: ASan watches
            for (int64_t i = 0; i < count; ++i) {
                float& value = work.features[l][i];
                uint32_t bits;
                std::memcpy(&bits, &value, sizeof(bits));
                const int64_t n = i / pixels / level.C, channel = i / pixels % level.C;
                halves[l][(n * pixels + i % pixels) * level.C + channel] =
                    static_cast<uint16_t>(bits >> 16);
                bits &= 0xFFFF0000u;
                std::memcpy(&value, &bits, sizeof(bits));
            }
            coarse[l].data = nullptr;
            coarse[l].bfloat16 = halves[l].get();
        }
        check::at_each_level([&](pyad::Level) {
            const std::vector<float> expected = work.run();
            check::Poisoned<float> out(static_cast<int64_t>(expected.size()));
            pyad::patch_aggregation(*work.plan, coarse, c.N, out.data());
            CHECK_SAME_BITS(out.data(), expected.data(), expected.size());
        });
    }
}

PYAD_TEST(several_threads_aggregate_at_once) {
    check::Random random(2);
    const check::Threads limit(2);
    std::vector<std::thread> callers;
    for (int caller = 0; caller < 4; ++caller)
        callers.emplace_back([c = kCases[1 + caller], seed = random.next()] {
            check::Random own(seed);
            const Work work(c, own, check::Kind::normal);
            const std::vector<float> first = work.run();
            for (int round = 0; round < 5; ++round) {
                const std::vector<float> again = work.run();
                CHECK_SAME_BITS(again.data(), first.data(), first.size());
            }
        });
    for (std::thread& caller : callers) caller.join();
}

PYAD_TEST(plans_that_leave_their_ranges_are_refused) {
    const auto plan = [](int64_t dims, pyad::AggregationLevel level) {
        return pyad::AggregationPlan(dims, {std::move(level)});
    };
    CHECK_THROWS(plan(1, {1, {}, {}, {}, {}}), "at least one entry");
    CHECK_THROWS(plan(1, {1, {0}, {0}, {0}, {}}), "at least one entry");
    CHECK_THROWS(plan(1, {1, {0}, {0}, {9}, {1.0f}}), "3x3 window");
    CHECK_THROWS(plan(1, {1, {0}, {1}, {0}, {1.0f}}), "entry 0 inside");
    CHECK_THROWS(plan(1, {1, {-1}, {0}, {0}, {1.0f}}), "entry 0 inside");
    CHECK_THROWS(plan(2, {1, {0, 0}, {0, 0}, {1, 1}, {1.0f, 1.0f}}), "sorted");
    CHECK_THROWS(plan(3, {1, {0, 2}, {0, 0}, {0, 0}, {1.0f, 1.0f}}), "without gaps");
    CHECK_THROWS(plan(2, {1, {0}, {0}, {0}, {1.0f}}), "dims 1 and on to be written");
    CHECK_THROWS(plan(1, {1, {2147483647}, {0}, {0}, {1.0f}}), "entry 0 inside");
    for (const int64_t none : {0, -1})
        CHECK_THROWS(pyad::AggregationPlan(none, {}), "at least one dim");
}

PYAD_TEST(the_same_descriptors_on_every_architecture) {
    check::at_each_level([](pyad::Level) {
        check::Random random(3);
        check::Digest digest;
        for (const Case& c : kCases) {
            const std::vector<float> out = Work(c, random, check::Kind::normal).run();
            digest.add(out.data(), static_cast<int64_t>(out.size()));
        }
        CHECK_EQ(digest.value(), 3875336182u);
    });
}
