// pyad/greedy_coreset.h at every level and thread count against the plain loop.
#include "pyad/greedy_coreset.h"

#include <thread>

#include "check.h"
#include "digest.h"
#include "levels.h"
#include "rows.h"

namespace {

// Algorithm 1 of PatchCore as written: one pass over all rows per pick.
std::vector<int64_t> plain(const check::Rows& points, const std::vector<float>& initial,
                           int64_t count) {
    std::vector<float> nearest(initial);
    std::vector<int64_t> picks;
    while (static_cast<int64_t>(picks.size()) < count) {
        int64_t best = 0;
        for (int64_t n = 1; n < points.n; ++n)
            if (nearest[n] > nearest[best]) best = n;
        picks.push_back(best);
        nearest[best] = -1.0f;
        for (int64_t n = 0; n < points.n; ++n)
            if (nearest[n] >= 0.0f)
                nearest[n] = std::min(nearest[n],
                                      check::canonical(points.row(n), points.row(best), points.D));
    }
    return picks;
}

std::vector<int64_t> picks_of(const check::Rows& points, const std::vector<float>& initial,
                              int64_t count) {
    pyad::GreedyCoreset selection(points.data(), points.n, points.D, initial.data());
    while (static_cast<int64_t>(selection.picks().size()) < count)
        selection.advance(count - static_cast<int64_t>(selection.picks().size()));
    return selection.picks();
}

void agrees(const check::Rows& points, const std::vector<float>& initial, int64_t count) {
    const std::vector<int64_t> expected = plain(points, initial, count);
    check::at_each_level([&](pyad::Level) {
        for (const int threads : {1, 3}) {
            const check::Threads limit(threads);
            const std::vector<int64_t> picks = picks_of(points, initial, count);
            CHECK_EQ(static_cast<int64_t>(picks.size()), count);
            CHECK_SAME_BITS(picks.data(), expected.data(), count);
        }
    });
}

std::vector<float> nothing_yet(int64_t n) {
    return std::vector<float>(static_cast<size_t>(n), check::kInfinity);
}

}  // namespace

PYAD_TEST(picks_are_those_of_the_plain_loop_for_every_kind_of_rows) {
    check::Random random(1);
    for (const check::Kind kind : check::kAllKinds) {
        agrees(check::rows_of(kind, 1, 1, random), nothing_yet(1), 1);
        agrees(check::rows_of(kind, 10, 3, random), nothing_yet(10), 10);
        agrees(check::rows_of(kind, 500, 17, random), nothing_yet(500), 60);
    }
}

PYAD_TEST(more_rows_than_one_subset_holds) {
    check::Random random(2);
    agrees(check::rows_of(check::Kind::normal, 5000, 20, random), nothing_yet(5000), 300);
    agrees(check::rows_of(check::Kind::duplicates, 3001, 9, random), nothing_yet(3001), 400);
    // Nearly every maximum is shared by rows inside and outside of the subset.
    agrees(check::rows_of(check::Kind::ties, 4100, 3, random), nothing_yet(4100), 90);
    agrees(check::rows_of(check::Kind::zeros, 2500, 2, random), nothing_yet(2500), 200);
}

PYAD_TEST(initial_distances_take_part) {
    check::Random random(3);
    const check::Rows points = check::rows_of(check::Kind::normal, 2600, 12, random);
    std::vector<float> initial(2600);
    for (float& value : initial) value = static_cast<float>(random.below(40));
    agrees(points, initial, 150);
    agrees(points, std::vector<float>(2600, 0.0f), 50);  // all equal: in the order of the rows
}

PYAD_TEST(identical_rows_are_picked_once_each) {
    const check::Rows points{2100, 4, std::vector<float>(2100 * 4, 1.0f)};
    std::vector<int64_t> picks = picks_of(points, nothing_yet(2100), 2100);
    std::sort(picks.begin(), picks.end());
    for (int64_t i = 0; i < 2100; ++i) CHECK_EQ(picks[i], i);
}

PYAD_TEST(several_selections_at_once) {
    check::Random random(4);
    const check::Rows points = check::rows_of(check::Kind::normal, 2300, 16, random);
    const std::vector<int64_t> expected = plain(points, nothing_yet(2300), 80);
    const check::Threads limit(2);
    std::vector<std::thread> callers;
    for (int caller = 0; caller < 4; ++caller)
        callers.emplace_back([&] {
            const std::vector<int64_t> picks = picks_of(points, nothing_yet(2300), 80);
            CHECK_SAME_BITS(picks.data(), expected.data(), 80);
        });
    for (std::thread& caller : callers) caller.join();
}

PYAD_TEST(projection_sums_in_index_order) {
    check::Random random(5);
    const int64_t sizes[][3] = {{1, 1, 1}, {300, 37, 128}, {70, 384, 65}, {513, 20, 64}};
    for (const auto& [N, D, P] : sizes) {
        const std::vector<float> points = random.normals(N * D), matrix = random.normals(D * P);
        std::vector<float> expected(static_cast<size_t>(N * P), 0.0f);
        for (int64_t n = 0; n < N; ++n)
            for (int64_t d = 0; d < D; ++d)
                for (int64_t p = 0; p < P; ++p) {
                    const float product = points[n * D + d] * matrix[d * P + p];
                    expected[n * P + p] = expected[n * P + p] + product;
                }
        for (const int threads : {1, 3}) {
            const check::Threads limit(threads);
            check::Poisoned<float> out(N * P);
            pyad::project(points.data(), N, D, matrix.data(), P, out.data());
            CHECK_SAME_BITS(out.data(), expected.data(), N * P);
        }
    }
}

PYAD_TEST(the_same_picks_on_every_architecture) {
    check::at_each_level([](pyad::Level) {
        check::Random random(6);
        check::Digest digest;
        for (const check::Kind kind : check::kAllKinds) {
            const check::Rows points = check::rows_of(kind, 2200, 21, random);
            const std::vector<int64_t> picks = picks_of(points, nothing_yet(2200), 60);
            digest.add(picks.data(), 60);
        }
        CHECK_EQ(digest.value(), 2296417560u);
    });
}
