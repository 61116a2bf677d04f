// Every screen of nearest_neighbors, with and without a contraction: they may cost, never decide.
#include "levels.h"
#include "neighbors.h"

namespace {

constexpr pyad::Screen kScreens[] = {pyad::Screen::float32, pyad::Screen::bfloat16,
                                     pyad::Screen::int8};

// (D, r) columns made orthonormal one after another; `spread` columns of a coordinate axis first.
std::vector<float> basis_of(int64_t D, int64_t r, int64_t axes, check::Random& random) {
    std::vector<double> columns(static_cast<size_t>(D * r));
    for (int64_t j = 0; j < r; ++j) {
        double* column = columns.data() + j * D;
        for (int64_t d = 0; d < D; ++d) column[d] = j < axes ? d == j : random.normal();
        for (int round = 0; round < 2; ++round)
            for (int64_t i = 0; i < j; ++i) {
                double dot = 0.0;
                for (int64_t d = 0; d < D; ++d) dot += column[d] * columns[i * D + d];
                for (int64_t d = 0; d < D; ++d) column[d] -= dot * columns[i * D + d];
            }
        double norm = 0.0;
        for (int64_t d = 0; d < D; ++d) norm += column[d] * column[d];
        for (int64_t d = 0; d < D; ++d) column[d] /= std::sqrt(norm);
    }
    std::vector<float> out(static_cast<size_t>(D * r));
    for (int64_t d = 0; d < D; ++d)
        for (int64_t j = 0; j < r; ++j) out[d * r + j] = static_cast<float>(columns[j * D + d]);
    return out;
}

// Searches with every screen that the level in use has; false where it lacks the one named.
bool with_screen(pyad::Screen screen, const check::Rows& queries, const check::Rows& rows,
                 int64_t k, const check::Neighbors& expected, const std::vector<float>& basis) {
    pyad::SearchOptions options;
    options.screen = screen;
    if (!basis.empty()) {
        options.basis = basis.data();
        options.basis_dim = static_cast<int64_t>(basis.size()) / rows.D;
    }
    const int64_t screened = basis.empty() ? rows.D : options.basis_dim + 1;
    try {
        pyad::chosen_screen(screen, screened);
    } catch (const std::invalid_argument&) {
        return false;
    }
    const pyad::MemoryBank bank(rows.data(), rows.n, rows.D, options);
    for (const int threads : {1, 3}) {
        const check::Threads limit(threads);
        check::search(bank, queries, k, expected);
    }
    return true;
}

void agrees(const check::Rows& queries, const check::Rows& rows, int64_t k,
            const std::vector<float>& basis) {
    const check::Neighbors expected = check::plain_search(queries, rows, k);
    check::at_each_level([&](pyad::Level) {
        int served = 0;
        for (const pyad::Screen screen : kScreens)
            served += with_screen(screen, queries, rows, k, expected, basis);
        CHECK(served >= 1);  // float32 is everywhere
    });
}

}  // namespace

PYAD_TEST(every_screen_gives_the_neighbors_of_the_plain_search) {
    check::Random random(1);
    const int64_t sizes[][4] = {{1, 1, 1, 1}, {7, 40, 5, 3}, {29, 97, 67, 2}, {13, 300, 256, 1}};
    for (const auto& [Q, M, D, k] : sizes)
        for (const check::Kind kind : check::kAllKinds)
            agrees(check::rows_of(kind, Q, D, random), check::rows_of(kind, M, D, random), k, {});
}

PYAD_TEST(every_screen_of_contracted_rows_gives_the_neighbors_of_the_plain_search) {
    check::Random random(2);
    const int64_t dims[][3] = {{5, 2, 2}, {67, 1, 0}, {67, 33, 0}, {256, 40, 8}};
    for (const auto& [D, r, axes] : dims) {
        const std::vector<float> basis = basis_of(D, r, axes, random);
        for (const check::Kind kind : check::kAllKinds)
            agrees(check::rows_of(kind, 13, D, random), check::rows_of(kind, 70, D, random), 3,
                   basis);
    }
}

PYAD_TEST(queries_of_one_kind_screened_in_a_bank_of_another) {
    check::Random random(3);
    const std::vector<float> basis = basis_of(37, 9, 3, random);
    for (const check::Kind a : check::kAllKinds)
        for (const check::Kind b : check::kAllKinds) {
            const check::Rows queries = check::rows_of(a, 9, 37, random);
            const check::Rows rows = check::rows_of(b, 50, 37, random);
            agrees(queries, rows, 2, {});
            agrees(queries, rows, 2, basis);
        }
}

PYAD_TEST(banks_larger_than_one_pass_and_many_neighbors) {
    check::Random random(4);
    const check::Rows queries = check::rows_of(check::Kind::sparse, 50, 33, random);
    agrees(queries, check::rows_of(check::Kind::sparse, 3000, 33, random), 1, {});
    agrees(queries, check::rows_of(check::Kind::ties, 700, 33, random), 200, {});
    agrees(queries, check::rows_of(check::Kind::duplicates, 700, 33, random), 70, {});
}

PYAD_TEST(a_screen_evaluates_few_rows_where_neighbors_are_near) {
    check::Random random(5);
    const check::Rows rows = check::rows_of(check::Kind::normal, 2000, 128, random);
    check::Rows queries{40, 128, {rows.values.begin(), rows.values.begin() + 40 * 128}};
    for (float& value : queries.values) value += 0.02f * random.normal();
    const check::Neighbors expected = check::plain_search(queries, rows, 1);
    check::at_each_level([&](pyad::Level) {
        const pyad::MemoryBank bank(rows.data(), rows.n, rows.D);
        CHECK(check::search(bank, queries, 1, expected) < 40 * 2000 / 10);
    });
}

PYAD_TEST(a_basis_that_is_not_orthonormal_is_refused) {
    check::Random random(6);
    const check::Rows rows = check::rows_of(check::Kind::normal, 20, 8, random);
    const std::vector<float> basis = random.normals(8 * 3);
    pyad::SearchOptions options;
    options.basis = basis.data();
    options.basis_dim = 3;
    CHECK_THROWS(pyad::MemoryBank(rows.data(), 20, 8, options), "orthonormal");
}
