// csrc/cuda/patch_aggregation.cuh on the host: the bits of the CPU kernel.
#include <memory>

#include "axes.h"
#include "check.h"
#include "cuda_tables.h"
#include "patch_aggregation.cuh"

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
    {3, 64, {{4, 5, 3, 0, 32}, {4, 5, 3, 32, 64}}},    // the same grid
    {1, 12, {{3, 3, 4, 0, 6}, {2, 7, 6, 6, 12}}},      // a deeper level on a finer grid
    {1, 40, {{3, 9, 13, 0, 40}, {2, 70, 90, 0, 40}}},  // much finer: small tiles
    {1, 33, {{6, 1, 200, 0, 33}}},
    {1, 33, {{6, 150, 1, 0, 33}, {2, 150, 2, 30, 33}}},
    {1, 34, {{4, 28, 28, 0, 17}, {6, 14, 14, 17, 34}}},
    {0, 4, {{2, 3, 3, 0, 4}}},
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

// A plan, features, and the tables of both as they would lie on the device.
struct Work {
    Work(const Case& c, check::Random& random) : c(c) {
        const Level& grid = c.levels[0];
        std::vector<pyad::AggregationLevel> entries;
        for (const Level& level : c.levels) {
            entries.push_back(entries_of(level, random));
            features.push_back(random.normals(c.N * level.C * level.h * level.w));
            pyad::cuda::DeviceFeatureMap map{
                {features.back().data(), level.h, level.w, nullptr, nullptr}, nullptr, nullptr};
            if (level.h != grid.h || level.w != grid.w) {
                map.map.rows = axis(level.h, grid.h);
                map.row_tables = tables.back()->memory();
                map.map.columns = axis(level.w, grid.w);
                map.column_tables = tables.back()->memory();
            }
            maps.push_back(map);
        }
        plan = std::make_unique<pyad::AggregationPlan>(c.dims, entries);
        packed.resize(pyad::cuda::for_each_table(*plan, [](size_t, size_t, int) {}));
        pyad::cuda::pack_tables(*plan, packed.data());
    }

    const pyad::Banded* axis(int64_t size, int64_t new_size) {
        axes.push_back(std::make_unique<pyad::Banded>(check::bilinear(size, new_size)));
        tables.push_back(std::make_unique<check::HostTables>(*axes.back()));
        return axes.back().get();
    }

    int64_t outputs() const { return c.N * c.levels[0].h * c.levels[0].w * c.dims; }

    std::vector<float> on_the_cpu() const {
        std::vector<pyad::FeatureMap> plain;
        for (const auto& map : maps) plain.push_back(map.map);
        std::vector<float> out(static_cast<size_t>(outputs()));
        pyad::patch_aggregation(*plan, plain, c.N, out.data());
        return out;
    }

    const Case& c;
    std::vector<std::vector<float>> features;
    std::vector<std::unique_ptr<pyad::Banded>> axes;
    std::vector<std::unique_ptr<check::HostTables>> tables;
    std::vector<pyad::cuda::DeviceFeatureMap> maps;
    std::unique_ptr<pyad::AggregationPlan> plan;
    std::vector<unsigned char> packed;
};

}  // namespace

PYAD_TEST(descriptors_have_the_bits_of_the_cpu_kernel) {
    check::Random random(31);
    for (const Case& c : kCases) {
        const Work work(c, random);
        const std::vector<float> expected = work.on_the_cpu();
        for (const bool descending : {false, true}) {
            check::Poisoned<float> out(work.outputs());
            pyad::cuda::AggregationTile tile = {};
            tile.tables = pyad::cuda::tables_at(*work.plan, work.packed.data());
            const pyad::cuda::Grid grid =
                pyad::cuda::prepare_aggregation(tile, *work.plan, work.maps, c.N, out.data());
            pyad::cuda::run_on_host(tile, grid, descending);
            CHECK_SAME_BITS(out.data(), expected.data(), expected.size());
        }
    }
}

PYAD_TEST(a_small_divisor_divides) {
    for (int32_t d = 1; d <= 128; ++d) {
        const pyad::cuda::SmallDivisor divisor = pyad::cuda::SmallDivisor::of(d);
        for (int32_t n = 0; n < 128; ++n) {
            CHECK_EQ(divisor.quotient(n), n / d);
            CHECK_EQ(divisor.remainder(n), n % d);
        }
    }
}

PYAD_TEST(plans_beyond_the_limits_are_refused) {
    check::Random random(32);
    Case c{1, 9, {}};
    for (int64_t l = 0; l < 9; ++l) c.levels.push_back({1, 2, 2, l, l + 1});
    CHECK_THROWS(Work(c, random), "at most 8 levels, got 9");
    const Case two{1, 4, {{2, 3, 3, 0, 2}, {2, 2, 2, 2, 4}}};
    Work work(two, random);
    pyad::cuda::AggregationTile tile = {};
    const auto prepare = [&](int64_t N) {
        pyad::cuda::prepare_aggregation(tile, *work.plan, work.maps, N, nullptr);
    };
    CHECK_THROWS(prepare(int64_t{1} << 31), "fewer pictures at a time");
    work.maps[1].map.h = int64_t{1} << 30;
    CHECK_THROWS(prepare(1), "2^31 values");
    work.maps.pop_back();
    CHECK_THROWS(prepare(1), "fit the plan");
}
