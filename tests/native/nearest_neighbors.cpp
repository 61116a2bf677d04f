// pyad/nearest_neighbors.h at every level and thread count against the plain search.
#include "pyad/nearest_neighbors.h"

#include <algorithm>
#include <thread>

#include "check.h"
#include "digest.h"
#include "levels.h"
#include "neighbors.h"
#include "rows.h"

namespace {

void agrees(const check::Rows& queries, const check::Rows& rows, int64_t k) {
    const check::Neighbors expected = check::plain_search(queries, rows, k);
    check::at_each_level([&](pyad::Level) {
        const pyad::MemoryBank bank(rows.data(), rows.n, rows.D);
        for (const int threads : {1, 3}) {
            const check::Threads limit(threads);
            check::search(bank, queries, k, expected);
        }
    });
}

}  // namespace

PYAD_TEST(every_kind_of_rows_at_odd_sizes) {
    check::Random random(1);
    const int64_t sizes[][4] = {{1, 1, 1, 1},      {5, 7, 3, 2},     {33, 32, 16, 1},
                                {14, 65, 129, 65}, {50, 333, 67, 3}, {197, 95, 31, 9}};
    for (const auto& [Q, M, D, k] : sizes)
        for (const check::Kind kind : check::kAllKinds)
            agrees(check::rows_of(kind, Q, D, random), check::rows_of(kind, M, D, random), k);
}

PYAD_TEST(queries_of_one_kind_in_a_bank_of_another) {
    check::Random random(2);
    for (const check::Kind a : check::kAllKinds)
        for (const check::Kind b : check::kAllKinds)
            agrees(check::rows_of(a, 13, 37, random), check::rows_of(b, 70, 37, random), 4);
}

PYAD_TEST(rows_longer_than_the_screens_serve) {
    check::Random random(3);
    // Past the 8-bit screen's exact dots, and past the float32 screen altogether.
    agrees(check::rows_of(check::Kind::normal, 5, 1030, random),
           check::rows_of(check::Kind::normal, 40, 1030, random), 2);
    agrees(check::rows_of(check::Kind::normal, 2, (1 << 17) + 3, random),
           check::rows_of(check::Kind::normal, 3, (1 << 17) + 3, random), 2);
}

PYAD_TEST(one_huge_row_and_one_huge_query_among_ordinary_ones) {
    check::Random random(4);
    for (const float huge : {1e13f, 3e18f, 3e38f}) {
        check::Rows queries = check::rows_of(check::Kind::sparse, 20, 33, random);
        check::Rows rows = check::rows_of(check::Kind::sparse, 50, 33, random);
        std::fill_n(rows.values.begin() + 17 * 33, 33, huge);
        agrees(queries, rows, 3);
        std::fill_n(queries.values.begin() + 5 * 33, 33, -huge);
        agrees(queries, rows, 3);
    }
}

PYAD_TEST(results_follow_the_rows_when_the_bank_is_permuted) {
    check::Random random(5);
    const check::Rows queries = check::rows_of(check::Kind::normal, 30, 45, random);
    const check::Rows rows = check::rows_of(check::Kind::normal, 130, 45, random);
    std::vector<int64_t> order(130);  // order[new row] = old row
    for (int64_t m = 0; m < 130; ++m) order[m] = m;
    for (int64_t m = 129; m > 0; --m) std::swap(order[m], order[random.below(m + 1)]);
    const check::Rows permuted = check::picked(rows, order);
    check::at_each_level([&](pyad::Level) {
        std::vector<float> distances[2] = {std::vector<float>(90), std::vector<float>(90)};
        std::vector<int64_t> indices[2] = {std::vector<int64_t>(90), std::vector<int64_t>(90)};
        pyad::MemoryBank(rows.data(), 130, 45)
            .search(queries.data(), 30, 3, distances[0].data(), indices[0].data());
        pyad::MemoryBank(permuted.data(), 130, 45)
            .search(queries.data(), 30, 3, distances[1].data(), indices[1].data());
        for (int64_t& index : indices[1]) index = order[index];
        CHECK_SAME_BITS(distances[0].data(), distances[1].data(), 90);
        CHECK_SAME_BITS(indices[0].data(), indices[1].data(), 90);
    });
}

PYAD_TEST(several_threads_search_one_bank_at_once) {
    check::Random random(6);
    const check::Rows rows = check::rows_of(check::Kind::normal, 300, 64, random);
    const pyad::MemoryBank bank(rows.data(), rows.n, rows.D);
    const check::Threads limit(2);
    std::vector<check::Rows> queries;
    std::vector<check::Neighbors> expected;
    for (int caller = 0; caller < 4; ++caller) {
        queries.push_back(check::rows_of(check::Kind::normal, 20 + caller, 64, random));
        expected.push_back(check::plain_search(queries.back(), rows, 2));
    }
    std::vector<std::thread> callers;
    for (int caller = 0; caller < 4; ++caller)
        callers.emplace_back([&, caller] {
            for (int round = 0; round < 10; ++round)
                check::search(bank, queries[caller], 2, expected[caller]);
        });
    for (std::thread& caller : callers) caller.join();
}

PYAD_TEST(values_that_are_not_finite_are_found) {
    check::Random random(7);
    for (const int64_t n : {1, 15, 16, 17, 1000, 300000}) {
        std::vector<float> values = random.normals(n);
        values[0] = 3.4e38f;
        CHECK(pyad::all_finite(values.data(), n));
        for (const float bad : {check::kNaN, check::kInfinity, -check::kInfinity}) {
            const int64_t at = random.below(n);
            const float before = values[at];
            values[at] = bad;
            CHECK(!pyad::all_finite(values.data(), n));
            values[at] = before;
        }
    }
}

PYAD_TEST(canonical_distances_are_near_those_in_float64) {
    check::Random random(8);
    for (const int64_t D : {1, 2, 15, 16, 17, 33, 384, 1000}) {
        const check::Rows rows = check::rows_of(check::Kind::normal, 2, D, random);
        double sum = 0.0;
        for (int64_t d = 0; d < D; ++d) {
            const double difference = static_cast<double>(rows.row(0)[d]) - rows.row(1)[d];
            sum += difference * difference;
        }
        check::at_each_level([&](pyad::Level) {
            const float distance = pyad::canonical_distance(rows.row(0), rows.row(1), D);
            CHECK_NEAR(distance, sum, sum * (static_cast<double>(D) / 16.0 + 8.0) * 0x1p-24);
            CHECK_EQ(distance, check::canonical(rows.row(0), rows.row(1), D));
        });
    }
}

PYAD_TEST(the_same_bits_on_every_architecture) {
    check::at_each_level([](pyad::Level) {
        check::Random random(9);
        check::Digest digest;
        for (const check::Kind kind : check::kAllKinds) {
            const check::Rows queries = check::rows_of(kind, 40, 77, random);
            const check::Rows rows = check::rows_of(kind, 200, 77, random);
            std::vector<float> distances(120);
            std::vector<int64_t> indices(120);
            pyad::MemoryBank(rows.data(), rows.n, rows.D)
                .search(queries.data(), 40, 3, distances.data(), indices.data());
            digest.add(distances.data(), 120).add(indices.data(), 120);
        }
        CHECK_EQ(digest.value(), 3122119173u);
    });
}
