// The programs of the CUDA search, run on the host, against the CPU kernel: the same bits.
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "check.h"
#include "pyad/nearest_neighbors.h"
#include "search_sequence.cuh"

namespace {

using namespace pyad::cuda;

struct Found {
    std::vector<float> distances;
    std::vector<int64_t> indices;
    int64_t overflowed = 0;  // queries that took the exact path
    int64_t kept = 0;
};

// A device bank on the host.
template <typename Kind>
struct Bank {
    int64_t M, D;
    std::vector<float> rows, mean;
    std::vector<unsigned char> values;
    std::vector<RowTerms> terms;
    int32_t huge = 0;

    Bank(const std::vector<float>& from, int64_t M, int64_t D, bool descending)
        : M(M), D(D), rows(from), mean(D) {
        values.assign(round_up_to(M, kTile) * screen_pitch<Kind>(D), 0xff);
        terms.resize(round_up_to(M, kTile));
        const auto run = [&](const auto& p, Grid grid) { run_on_host(p, grid, descending); };
        prepare_mean(rows.data(), M, D, mean.data(), run);
        prepare_rows<Kind>(rows.data(), M, D, mean.data(), values.data(), terms.data(), &huge, run);
    }

    Found search(const std::vector<float>& queries, int64_t Q, int64_t k, SearchForm form,
                 bool descending, int64_t not_finite = 0) const {
        const bool fused = form == SearchForm::half_fused || form == SearchForm::bytes_fused;
        Found found;
        check::Poisoned<float> distances(Q * k);
        check::Poisoned<int64_t> indices(Q * k);
        const SearchInput in{
            queries.data(),   rows.data(),   mean.data(), {values.data(), terms.data()}, Q, M, D, k,
            distances.data(), indices.data()};
        const auto run = [&](const auto& p, Grid grid) { run_on_host(p, grid, descending); };
        if (form == SearchForm::exact) {
            search_exactly(in, run);
        } else {
            const size_t bytes = search_memory<Kind>(nullptr, Q, M, D, k, fused).bytes;
            struct alignas(256) Line {
                unsigned char bytes[256];
            };
            std::vector<Line> workspace(bytes / 256);
            std::memset(static_cast<void*>(workspace.data()), 0xff, bytes);
            search_screened<Kind>(in, fused, workspace.data(), run);
            const SearchMemory memory = search_memory<Kind>(workspace.data(), Q, M, D, k, fused);
            for (int64_t q = 0; q < Q; ++q)
                if (fused) {
                    found.overflowed +=
                        memory.state[q] != kScreened || memory.counts[q] > kCapacity;
                    found.kept += memory.counts[q];
                }
        }
        CHECK_EQ(distances.untouched(), not_finite * k);  // they get NaN
        CHECK_EQ(indices.untouched(), 0);
        found.distances.assign(distances.begin(), distances.end());
        found.indices.assign(indices.begin(), indices.end());
        return found;
    }
};

constexpr SearchForm kHalf[] = {SearchForm::exact, SearchForm::half_fused, SearchForm::half_gemm};
constexpr SearchForm kBytes[] = {SearchForm::bytes_fused, SearchForm::bytes_gemm};

// Every form, both orders of threads, against the CPU; the survivors of half_fused.
Found compare(const std::vector<float>& queries, int64_t Q, const std::vector<float>& rows,
              int64_t M, int64_t D, int64_t k) {
    std::vector<float> distances(Q * k);
    std::vector<int64_t> indices(Q * k);
    pyad::MemoryBank(rows.data(), M, D)
        .search(queries.data(), Q, k, distances.data(), indices.data());
    Found last;
    const auto all = [&](auto kind, const auto& forms) {
        for (const bool descending : {false, true}) {
            const Bank<decltype(kind)> bank(rows, M, D, descending);
            for (const SearchForm form : forms) {
                if (bank.huge && form != SearchForm::exact) continue;
                const Found found = bank.search(queries, Q, k, form, descending);
                CHECK_SAME_BITS(found.distances.data(), distances.data(), Q * k);
                CHECK_SAME_BITS(found.indices.data(), indices.data(), Q * k);
                if (form == SearchForm::half_fused) last = found;
            }
        }
    };
    all(HalfKind{}, kHalf);
    all(ByteKind{}, kBytes);
    return last;
}

PYAD_TEST(cuda_search_agrees_with_the_cpu_over_odd_sizes) {
    check::Random random(1);
    const int64_t sizes[][4] = {{1, 1, 1, 1},      {3, 5, 7, 5},     {5, 129, 31, 1},
                                {130, 127, 33, 2}, {17, 300, 64, 9}, {2, 700, 17, 16},
                                {9, 131, 200, 3}};
    for (const auto& [Q, M, D, k] : sizes)
        compare(random.normals(Q * D), Q, random.normals(M * D), M, D, k);
}

PYAD_TEST(cuda_search_keeps_few_rows_of_clustered_features) {
    check::Random random(2);
    const int64_t Q = 40, M = 1500, D = 96;
    std::vector<float> rows(M * D), queries(Q * D);
    const auto centers = random.normals(50 * D);
    for (int64_t m = 0; m < M; ++m)
        for (int64_t d = 0; d < D; ++d)
            rows[m * D + d] = 3.0f + centers[m % 50 * D + d] + 0.4f * random.normal();
    for (int64_t q = 0; q < Q; ++q)
        for (int64_t d = 0; d < D; ++d)
            queries[q * D + d] = rows[(q * 37 % M) * D + d] + 0.2f * random.normal();
    const Found found = compare(queries, Q, rows, M, D, 1);
    CHECK_EQ(found.overflowed, 0);
    CHECK(found.kept < 40 * Q);
}

PYAD_TEST(cuda_search_settles_ties_duplicates_and_zero_rows) {
    check::Random random(3);
    const int64_t Q = 33, M = 400, D = 24;
    std::vector<float> rows(M * D), queries(Q * D);
    for (float& x : rows) x = static_cast<float>(random.below(3) - 1);
    for (float& x : queries) x = static_cast<float>(random.below(3) - 1);
    for (int64_t m = 0; m < M; m += 7)
        for (int64_t d = 0; d < D; ++d) rows[m * D + d] = 0.0f;
    for (int64_t d = 0; d < D; ++d) queries[d] = 0.0f;
    for (const int64_t k : {1, 4, 16}) compare(queries, Q, rows, M, D, k);
}

PYAD_TEST(cuda_search_takes_the_exact_path_where_the_list_overflows) {
    const int64_t Q = 3, M = 700, D = 8;
    const std::vector<float> rows(M * D, 0.25f);  // all at the same distance
    const std::vector<float> queries(Q * D, 1.0f);
    const Found found = compare(queries, Q, rows, M, D, 2);
    CHECK_EQ(found.overflowed, Q);
}

PYAD_TEST(cuda_search_of_extreme_values) {
    check::Random random(4);
    const int64_t Q = 6, M = 150, D = 20;
    for (const float scale :
         {1e-42f, 1e-38f, 1e-30f, 1e-20f, 1e-15f, 1e-6f, 1e8f, 9e11f, 1e13f, 1e19f, 1e38f}) {
        auto rows = random.uniforms(M * D), queries = random.uniforms(Q * D);
        for (float& x : rows) x *= scale;
        for (float& x : queries) x *= scale;
        compare(queries, Q, rows, M, D, 1);
        compare(queries, Q, rows, M, D, 5);
        // One huge query beside ordinary ones, and rows of very different size.
        for (int64_t d = 0; d < D; ++d) queries[2 * D + d] = 1e30f;
        for (int64_t m = 0; m < M; m += 3)
            for (int64_t d = 0; d < D; ++d) rows[m * D + d] *= 1e-5f;
        compare(queries, Q, rows, M, D, 2);
    }
}

PYAD_TEST(cuda_search_finds_a_row_whose_copy_lies_farther_away_than_another_row) {
    // In 8 bits the row y = (127, 0.49, ...) becomes (127, 0, ...), away from the query
    // (127, 3, ...): ||q - y||^2 = 397 and ||q - copy||^2 = 567. The row z, which is its own copy,
    // lies between, at 472. The negatives keep the mean at 0.
    const int64_t D = 64, M = 4;
    std::vector<float> rows(M * D), query(D, 3.0f);
    for (int64_t d = 0; d < D; ++d) {
        rows[d] = d < 45 ? 0.0f : 1.0f;
        rows[D + d] = 0.49f;
    }
    query[0] = rows[0] = rows[D] = 127.0f;
    for (int64_t i = 0; i < 2 * D; ++i) rows[2 * D + i] = -rows[i];
    std::vector<float> bank(600 * D);  // more rows than one tile
    for (int64_t i = 0; i < 600 * D; ++i) bank[i] = i < 4 * D ? rows[i] : 0.0f;
    compare(query, 1, bank, 600, D, 1);
    compare(query, 1, rows, M, D, 1);
    compare(query, 1, rows, M, D, 2);
}

PYAD_TEST(cuda_search_far_from_the_origin) {
    check::Random random(5);
    const int64_t Q = 5, M = 260, D = 40;
    auto rows = random.normals(M * D), queries = random.normals(Q * D);
    for (float& x : rows) x = 1000.0f + 1e-2f * x;
    for (float& x : queries) x = 1000.0f + 1e-2f * x;
    compare(queries, Q, rows, M, D, 3);
}

PYAD_TEST(cuda_search_of_a_query_that_is_not_finite) {
    check::Random random(6);
    const int64_t Q = 3, M = 140, D = 10;
    const auto rows = random.normals(M * D);
    auto queries = random.normals(Q * D);
    queries[D + 4] = std::numeric_limits<float>::quiet_NaN();
    queries[2 * D] = std::numeric_limits<float>::infinity();
    const Bank<HalfKind> bank(rows, M, D, false);
    for (const SearchForm form : kHalf) {
        const Found found = bank.search(queries, Q, 1, form, false, 2);
        CHECK_EQ(found.indices[1], -1);
        CHECK_EQ(found.indices[2], -1);
        CHECK(std::isnan(found.distances[1]));
        float distance;
        int64_t index;
        pyad::MemoryBank(rows.data(), M, D).search(queries.data(), 1, 1, &distance, &index);
        CHECK_EQ(found.distances[0], distance);
        CHECK_EQ(found.indices[0], index);
    }
}

}  // namespace
