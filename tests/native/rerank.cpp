// pyad/rerank.h: candidates in any order, missing and named twice.
#include "pyad/rerank.h"

#include "levels.h"
#include "neighbors.h"

namespace {

constexpr int64_t kQ = 23, kM = 60, kD = 37;

struct Candidates {
    int64_t c;
    std::vector<int64_t> rows;  // (Q, c), -1: none
};

Candidates candidates_of(int64_t c, check::Random& random) {
    Candidates out{c, {}};
    for (int64_t i = 0; i < kQ * c; ++i) out.rows.push_back(random.below(kM + 6) - 6);
    for (int64_t& row : out.rows) row = std::max<int64_t>(row, -1);
    return out;
}

}  // namespace

PYAD_TEST(candidates_come_back_in_the_order_of_their_canonical_distance) {
    check::Random random(1);
    for (const check::Kind kind : check::kAllKinds)
        for (const auto& [c, k] : {std::pair{1, 1}, std::pair{9, 3}, std::pair{20, 20}}) {
            const check::Rows queries = check::rows_of(kind, kQ, kD, random);
            const check::Rows rows = check::rows_of(kind, kM, kD, random);
            const Candidates found = candidates_of(c, random);
            std::vector<float> distances;
            std::vector<int64_t> indices;
            for (int64_t q = 0; q < kQ; ++q) {
                std::vector<std::pair<float, int64_t>> all;
                for (int64_t i = 0; i < c; ++i)
                    if (const int64_t row = found.rows[q * c + i]; row >= 0)
                        all.emplace_back(check::canonical(queries.row(q), rows.row(row), kD), row);
                std::sort(all.begin(), all.end());
                all.resize(static_cast<size_t>(c), {check::kInfinity, -1});
                for (int64_t j = 0; j < k; ++j) {
                    distances.push_back(all[j].first);
                    indices.push_back(all[j].second);
                }
            }
            check::at_each_level([&](pyad::Level) {
                for (const int threads : {1, 3}) {
                    const check::Threads limit(threads);
                    check::Poisoned<float> d(kQ * k);
                    check::Poisoned<int64_t> i(kQ * k);
                    CHECK(pyad::rerank(queries.data(), kQ, kD, rows.data(), found.rows.data(), c, k,
                                       d.data(), i.data()));
                    CHECK_SAME_BITS(i.data(), indices.data(), indices.size());
                    CHECK_SAME_BITS(d.data(), distances.data(), distances.size());
                }
            });
        }
}

PYAD_TEST(all_rows_as_candidates_give_the_plain_search) {
    check::Random random(2);
    const check::Rows queries = check::rows_of(check::Kind::ties, kQ, kD, random);
    const check::Rows rows = check::rows_of(check::Kind::ties, kM, kD, random);
    const check::Neighbors expected = check::plain_search(queries, rows, 5);
    std::vector<int64_t> every;
    for (int64_t q = 0; q < kQ; ++q)
        for (int64_t m = kM - 1; m >= 0; --m) every.push_back(m);
    check::Poisoned<float> distances(kQ * 5);
    check::Poisoned<int64_t> indices(kQ * 5);
    CHECK(pyad::rerank(queries.data(), kQ, kD, rows.data(), every.data(), kM, 5, distances.data(),
                       indices.data()));
    CHECK_SAME_BITS(indices.data(), expected.indices.data(), indices.size());
    CHECK_SAME_BITS(distances.data(), expected.distances.data(), distances.size());
}

PYAD_TEST(a_row_with_nan_is_reported_where_it_is_met) {
    check::Random random(3);
    const check::Rows queries = check::rows_of(check::Kind::normal, kQ, kD, random);
    check::Rows rows = check::rows_of(check::Kind::normal, kM, kD, random);
    rows.values[7 * kD + 5] = check::kNaN;
    std::vector<int64_t> candidates(kQ, 3);
    std::vector<float> distances(kQ);
    std::vector<int64_t> indices(kQ);
    const auto run = [&] {
        return pyad::rerank(queries.data(), kQ, kD, rows.data(), candidates.data(), 1, 1,
                            distances.data(), indices.data());
    };
    CHECK(run());
    candidates[11] = 7;
    CHECK(!run());
}
