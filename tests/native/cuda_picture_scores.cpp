// csrc/cuda/picture_scores.cuh on the host, against the same numbers made plainly.
#include <cmath>

#include "check.h"
#include "picture_scores.cuh"

namespace {

using pyad::cuda::PictureScores;

struct Case {
    int64_t N, P, M, D, k;
    bool masked;
};
const Case kCases[] = {{1, 1, 3, 5, 2, false},    {2, 784, 40, 16, 9, false},
                       {3, 257, 12, 33, 7, true}, {1, 1000, 20, 100, 12, true},
                       {2, 30, 6, 8, 0, false},   {1, 256, 50, 24, 33, false}};

float canonical(const float* a, const float* b, int64_t D) {
    float partial[16] = {};
    for (int64_t d = 0; d < D; ++d) {
        const float difference = a[d] - b[d];
        partial[d % 16] += difference * difference;
    }
    for (int half = 8; half > 0; half /= 2)
        for (int l = 0; l < half; ++l) partial[l] += partial[l + half];
    return partial[0];
}

struct Pictures {
    explicit Pictures(const Case& c, check::Random& random)
        : patches(random.normals(c.N * c.P * c.D)),
          bank(random.normals(c.M * c.D)),
          squared(c.N * c.P),
          rows(c.N * c.P),
          neighborhoods(c.M * c.k) {
        for (float& value : squared) value = static_cast<float>(random.below(20));  // with ties
        for (int64_t& row : rows) row = random.below(c.M);
        for (int64_t& row : neighborhoods) row = random.below(c.M);
        if (c.masked)
            for (int64_t i = 0; i < c.N * c.P; ++i) valid.push_back(random.below(3) != 0);
    }
    PictureScores call(const Case& c, float* distances, int64_t* winners, float* around) {
        return {c.N,
                c.P,
                squared.data(),
                rows.data(),
                valid.empty() ? nullptr : valid.data(),
                distances,
                winners,
                patches.data(),
                bank.data(),
                neighborhoods.data(),
                around,
                c.D,
                c.k};
    }
    std::vector<float> patches, bank, squared;
    std::vector<int64_t> rows, neighborhoods;
    std::vector<uint8_t> valid;
};

}  // namespace

PYAD_TEST(roots_winners_and_their_neighbours) {
    check::Random random(21);
    for (const Case& c : kCases) {
        const Pictures given(c, random);
        std::vector<float> squared = given.squared, distances(c.N * c.P), around(c.N * c.k);
        std::vector<int64_t> rows = given.rows, winners(c.N, -1);
        for (int64_t n = 0; n < c.N; ++n) {
            for (int64_t p = n * c.P; p < (n + 1) * c.P; ++p) {
                if (!given.valid.empty() && given.valid[p] == 0) {
                    squared[p] = 0.0f;
                    rows[p] = -1;
                } else if (winners[n] < 0 || squared[p] > squared[n * c.P + winners[n]]) {
                    winners[n] = p - n * c.P;
                }
                distances[p] = std::sqrt(squared[p]);
            }
            const int64_t at = n * c.P + winners[n];
            for (int64_t i = 0; i < c.k; ++i)
                around[n * c.k + i] = canonical(
                    given.patches.data() + at * c.D,
                    given.bank.data() + given.neighborhoods[rows[at] * c.k + i] * c.D, c.D);
        }
        for (const bool descending : {false, true}) {
            Pictures ours = given;
            check::Poisoned<float> roots(c.N * c.P), near(c.N * c.k);
            check::Poisoned<int64_t> best(c.N);
            const pyad::cuda::PictureScoresProgram program(
                ours.call(c, roots.data(), best.data(), near.data()));
            pyad::cuda::run_on_host(program, program.grid(), descending);
            CHECK_SAME_BITS(ours.squared.data(), squared.data(), squared.size());
            CHECK_SAME_BITS(ours.rows.data(), rows.data(), rows.size());
            CHECK_SAME_BITS(roots.data(), distances.data(), distances.size());
            CHECK_SAME_BITS(best.data(), winners.data(), winners.size());
            CHECK_SAME_BITS(near.data(), around.data(), around.size());
        }
    }
}

PYAD_TEST(what_cannot_be_scored_is_told) {
    check::Random random(22);
    const Case c{3, 300, 10, 12, 3, true};
    Pictures pictures(c, random);
    pictures.valid.assign(c.N * c.P, 1);
    for (int64_t p = 0; p < c.P; ++p) pictures.valid[c.P + p] = 0;  // nothing of the second
    const int64_t bad = 2 * c.P + 123;
    pictures.squared[bad] = std::numeric_limits<float>::quiet_NaN();  // as the search leaves it
    pictures.rows[bad] = -1;
    std::vector<float> distances(c.N * c.P), around(c.N * c.k);
    std::vector<int64_t> winners(c.N);
    const pyad::cuda::PictureScoresProgram program(
        pictures.call(c, distances.data(), winners.data(), around.data()));
    pyad::cuda::run_on_host(program, program.grid(), false);
    CHECK(winners[0] >= 0);
    CHECK(around[0] >= 0.0f);
    CHECK_EQ(winners[1], -1);
    CHECK_EQ(winners[2], 123);
    for (int64_t i = 1; i < c.N; ++i) CHECK(std::isnan(around[i * c.k]));
}

PYAD_TEST(more_patches_than_a_key_holds_are_refused) {
    PictureScores call{};
    call.P = int64_t{1} << 32;
    CHECK_THROWS(pyad::cuda::PictureScoresProgram{call}, "smaller input size");
}
