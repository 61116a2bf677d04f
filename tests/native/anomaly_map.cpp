// pyad/anomaly_map.h and pyad/banded.h.
#include "pyad/anomaly_map.h"

#include <thread>

#include "axes.h"
#include "check.h"
#include "digest.h"
#include "levels.h"
#include "rows.h"

namespace {

struct Case {
    int64_t N, h, w, H, W;
    double spread;
};
const Case kCases[] = {{1, 1, 1, 1, 1, 1.0},     {2, 7, 9, 61, 50, 3.0}, {3, 1, 6, 5, 48, 1.0},
                       {1, 28, 28, 224, 224, 2}, {2, 12, 5, 12, 5, 1.0}, {1, 20, 24, 7, 5, 1.5},
                       {2, 3, 3, 40, 131, 6.0},  {0, 4, 4, 8, 8, 1.0}};

struct Maps {
    std::vector<float> maps, maxima;
};

Maps run(const Case& c, const std::vector<float>& scores, const pyad::Banded& rows,
         const pyad::Banded& columns) {
    check::Poisoned<float> wide(c.N * c.h * c.W), maps(c.N * c.H * c.W), maxima(c.N);
    pyad::anomaly_map(scores.data(), c.N, rows, columns, wide.data(), maps.data(), maxima.data());
    CHECK_EQ(maps.untouched(), 0);
    CHECK_EQ(maxima.untouched(), 0);
    return {{maps.begin(), maps.end()}, {maxima.begin(), maxima.end()}};
}

}  // namespace

PYAD_TEST(maps_are_those_of_float64_and_the_same_at_every_level) {
    check::Random random(1);
    for (const Case& c : kCases)
        for (const check::Kind kind : {check::Kind::normal, check::Kind::denormal,
                                       check::Kind::overflow, check::Kind::zeros}) {
            const std::vector<float> scores = check::rows_of(kind, c.N, c.h * c.w, random).values;
            const pyad::Banded rows = check::triangles(c.h, c.H, c.spread);
            const pyad::Banded columns = check::triangles(c.w, c.W, c.spread);
            const Maps first = run(c, scores, rows, columns);
            for (int64_t n = 0; n < c.N; ++n) {
                float largest = 0.0f;
                for (int64_t i = 0; i < c.h * c.w; ++i)
                    largest = std::max(largest, std::fabs(scores[n * c.h * c.w + i]));
                const double allowed = 64.0 * 0x1p-24 * largest + 64.0 * 0x1p-149;
                const float* map = first.maps.data() + n * c.H * c.W;
                for (int64_t y = 0; y < c.H; ++y)
                    for (int64_t x = 0; x < c.W; ++x) {
                        const double expected = check::apply(rows, y, [&](int64_t i) {
                            return check::apply(columns, x, [&](int64_t j) {
                                return scores[(n * c.h + i) * c.w + j];
                            });
                        });
                        CHECK_NEAR(map[y * c.W + x], expected, allowed);
                    }
                CHECK_EQ(first.maxima[n], *std::max_element(map, map + c.H * c.W));
            }
            check::at_each_level([&](pyad::Level) {
                for (const int threads : {1, 3}) {
                    const check::Threads limit(threads);
                    const Maps again = run(c, scores, rows, columns);
                    CHECK_SAME_BITS(again.maps.data(), first.maps.data(), first.maps.size());
                    CHECK_SAME_BITS(again.maxima.data(), first.maxima.data(), c.N);
                }
            });
        }
}

PYAD_TEST(several_threads_make_maps_at_once) {
    check::Random random(2);
    const check::Threads limit(2);
    std::vector<std::thread> callers;
    for (int caller = 0; caller < 4; ++caller) {
        const Case c{1 + caller, 8, 9, 40 + caller, 33, 2.0};
        callers.emplace_back([c, scores = random.normals(c.N * c.h * c.w)] {
            const pyad::Banded rows = check::triangles(c.h, c.H, 2.0);
            const pyad::Banded columns = check::triangles(c.w, c.W, 2.0);
            const Maps first = run(c, scores, rows, columns);
            for (int round = 0; round < 5; ++round) {
                const Maps again = run(c, scores, rows, columns);
                CHECK_SAME_BITS(again.maps.data(), first.maps.data(), first.maps.size());
            }
        });
    }
    for (std::thread& caller : callers) caller.join();
}

PYAD_TEST(maps_that_leave_their_inputs_are_refused) {
    CHECK_THROWS(pyad::Banded(4, {}, {}, {}), "at least one row");
    CHECK_THROWS(pyad::Banded(4, {0}, {1, 1}, {1.0f}), "at least one row");
    CHECK_THROWS(pyad::Banded(4, {-1}, {1}, {1.0f}), "row 0");
    CHECK_THROWS(pyad::Banded(4, {3}, {2}, {1.0f, 1.0f}), "of 4 columns");
    CHECK_THROWS(pyad::Banded(4, {0}, {0}, {1.0f}), "row 0");
    CHECK_THROWS(pyad::Banded(4, {0}, {2}, {1.0f}), "1 to 1");
    CHECK_THROWS(pyad::Banded(4, {1, 0}, {1, 1}, {1.0f, 1.0f}), "row 1 does");
    // A start whose end is beyond 2^31 - 1.
    CHECK_THROWS(pyad::Banded(4, {2147483647}, {1}, {1.0f}), "of 4 columns");
    CHECK_THROWS(pyad::Banded(4, {0, 2147483647}, {1, 1}, {1.0f, 1.0f}), "row 1 to touch");
    CHECK(pyad::Banded(4, {0, 3}, {1, 1}, {1.0f, 1.0f}).copies);
    CHECK(!pyad::Banded(4, {0, 3}, {1, 1}, {1.0f, 0.5f}).copies);
}

PYAD_TEST(the_same_maps_on_every_architecture) {
    check::at_each_level([](pyad::Level) {
        check::Random random(3);
        check::Digest digest;
        for (const Case& c : kCases) {
            const Maps maps =
                run(c, random.normals(c.N * c.h * c.w), check::triangles(c.h, c.H, c.spread),
                    check::triangles(c.w, c.W, c.spread));
            digest.add(maps.maps.data(), static_cast<int64_t>(maps.maps.size()));
            digest.add(maps.maxima.data(), c.N);
        }
        CHECK_EQ(digest.value(), 2202664547u);
    });
}
