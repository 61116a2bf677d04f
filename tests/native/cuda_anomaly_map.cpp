// csrc/cuda/anomaly_map.cuh on the host: the bits of the CPU kernel.
#include "anomaly_map.cuh"
#include "axes.h"
#include "check.h"
#include "cuda_tables.h"
#include "pyad/anomaly_map.h"

namespace {

struct Case {
    int64_t N, h, w, H, W;
    double spread;
};
const Case kCases[] = {
    {1, 1, 1, 1, 1, 1.0},       {2, 7, 9, 61, 50, 3.0},    {3, 1, 6, 5, 48, 1.0},
    {1, 28, 28, 224, 224, 2.0}, {2, 12, 5, 12, 5, 1.0},    {1, 20, 24, 7, 5, 1.5},
    {2, 3, 3, 40, 131, 6.0},    {0, 4, 4, 8, 8, 1.0},      {1, 33, 2, 16, 32, 1.0},
    {1, 100, 3, 17, 33, 1.0},   {2, 150, 70, 20, 40, 9.0},  // more source rows than a chunk holds
};

struct Maps {
    Maps(const Case& c, const std::vector<float>& scores, const pyad::Banded& rows,
         const pyad::Banded& columns, bool descending)
        : tile_maxima(c.N * pyad::cuda::AnomalyMapTile::tiles(c.H, c.W)),
          maps(c.N * c.H * c.W),
          maxima(c.N) {
        const check::HostTables row_tables(rows), column_tables(columns);
        const pyad::cuda::AnomalyMapCall call(scores.data(), c.N, row_tables.view(),
                                              column_tables.view(), tile_maxima.data(), maps.data(),
                                              maxima.data());
        pyad::cuda::run_on_host(call.tile, call.tiles(), descending);
        pyad::cuda::run_on_host(call.maximum, call.maps(), descending);
    }
    check::Poisoned<float> tile_maxima, maps, maxima;
};

}  // namespace

PYAD_TEST(maps_have_the_bits_of_the_cpu_kernel) {
    check::Random random(11);
    for (const Case& c : kCases) {
        const std::vector<float> scores = random.normals(c.N * c.h * c.w);
        const pyad::Banded rows = check::triangles(c.h, c.H, c.spread);
        const pyad::Banded columns = check::triangles(c.w, c.W, c.spread);
        std::vector<float> wide(c.N * c.h * c.W), maps(c.N * c.H * c.W), maxima(c.N);
        pyad::anomaly_map(scores.data(), c.N, rows, columns, wide.data(), maps.data(),
                          maxima.data());
        for (const bool descending : {false, true}) {
            Maps ours(c, scores, rows, columns, descending);
            CHECK_EQ(ours.tile_maxima.untouched(), 0);
            CHECK_SAME_BITS(ours.maps.data(), maps.data(), maps.size());
            CHECK_SAME_BITS(ours.maxima.data(), maxima.data(), maxima.size());
        }
    }
}

PYAD_TEST(a_nan_is_seen_in_the_maximum) {
    check::Random random(12);
    const Case c{3, 9, 8, 40, 37, 2.0};
    const pyad::Banded rows = check::triangles(c.h, c.H), columns = check::triangles(c.w, c.W);
    for (int64_t at = 0; at < c.h * c.w; at += 5) {
        std::vector<float> scores = random.normals(c.N * c.h * c.w);
        scores[c.h * c.w + at] = std::numeric_limits<float>::quiet_NaN();
        Maps ours(c, scores, rows, columns, false);
        CHECK(ours.maxima[1] != ours.maxima[1]);
        CHECK(ours.maxima[0] == ours.maxima[0]);
        CHECK(ours.maxima[2] == ours.maxima[2]);
    }
}

PYAD_TEST(more_tiles_than_a_grid_holds_are_refused) {
    const pyad::Banded map = check::bilinear(3, 64);
    const check::HostTables tables(map);
    CHECK_THROWS(pyad::cuda::AnomalyMapCall(nullptr, int64_t{1} << 29, tables.view(), tables.view(),
                                            nullptr, nullptr, nullptr),
                 "fewer maps at a time");
}
