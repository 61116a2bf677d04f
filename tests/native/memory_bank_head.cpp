// pyad/memory_bank_head.h against the operations that it is made of, at every level.
#include "pyad/memory_bank_head.h"

#include <algorithm>
#include <cmath>
#include <thread>

#include "check.h"
#include "digest.h"
#include "levels.h"
#include "rows.h"

namespace {

// Two levels, the second of half the size, as the plan of the variant `average` takes them.
struct Case {
    int64_t N, h, w;
    int64_t channels[2] = {5, 11};
    std::vector<float> data[2];
    pyad::Banded rows, columns;
    std::vector<pyad::FeatureMap> features;

    static pyad::Banded doubling(int64_t n) {
        std::vector<int32_t> start, count;
        std::vector<float> weights;
        for (int64_t i = 0; i < 2 * n; ++i) {
            const int64_t low = std::max<int64_t>(0, (i - 1) / 2 - (i == 0));
            const bool inner = i > 0 && i + 1 < 2 * n;
            start.push_back(static_cast<int32_t>(i == 0 ? 0 : low));
            count.push_back(inner ? 2 : 1);
            weights.push_back(inner ? (i % 2 ? 0.75f : 0.25f) : 1.0f);
            weights.push_back(inner ? (i % 2 ? 0.25f : 0.75f) : 0.0f);
        }
        return pyad::Banded(n, start, count, weights);
    }
    Case(int64_t pictures, int64_t half_h, int64_t half_w, check::Random& random)
        : N(pictures),
          h(2 * half_h),
          w(2 * half_w),
          rows(doubling(half_h)),
          columns(doubling(half_w)) {
        data[0] = random.normals(N * channels[0] * h * w);
        data[1] = random.normals(N * channels[1] * half_h * half_w);
        features = {{data[0].data(), h, w, nullptr, nullptr},
                    {data[1].data(), half_h, half_w, &rows, &columns}};
    }
};

pyad::AggregationPlan average_plan() {
    std::vector<pyad::AggregationLevel> levels;
    int32_t dim = 0;
    for (const int32_t channels : {5, 11}) {
        pyad::AggregationLevel level{channels, {}, {}, {}, {}};
        for (int32_t c = 0; c < channels; ++c, ++dim)
            for (int32_t p = 0; p < 9; ++p) {
                level.dim.push_back(dim);
                level.channel.push_back(c);
                level.position.push_back(p);
                level.weight.push_back(1.0f / 9.0f);
            }
        levels.push_back(std::move(level));
    }
    return pyad::AggregationPlan(16, std::move(levels));
}

struct Scores {
    check::Poisoned<float> image, patch, distances;
    check::Poisoned<int64_t> rows;
    Scores(int64_t N, int64_t patches)
        : image(N), patch(N * patches), distances(N * patches), rows(N * patches) {}
    pyad::HeadScores out() { return {image.data(), patch.data(), rows.data(), distances.data()}; }
};

// Eq. 7 with the library's exponential.
float plain_score(const float* patch, float squared, int64_t row, const check::Rows& bank,
                  int64_t k) {
    std::vector<std::pair<float, int64_t>> all;
    for (int64_t m = 0; m < bank.n; ++m)
        all.emplace_back(check::canonical(bank.row(row), bank.row(m), bank.D), m);
    std::sort(all.begin(), all.end());
    std::vector<double> around;
    for (int64_t j = 0; j < k; ++j) {
        const float distance = check::canonical(patch, bank.row(all[j].second), bank.D);
        around.push_back(std::sqrt(static_cast<double>(distance)));
    }
    const double largest = std::sqrt(static_cast<double>(squared));
    const double shift = *std::max_element(around.begin(), around.end());
    double sum = 0.0;
    for (const double distance : around) sum += std::exp(distance - shift);
    return static_cast<float>(largest * (1.0 - std::exp(largest - shift) / sum));
}

void agrees(const Case& given, const check::Rows& bank, int64_t k) {
    const pyad::AggregationPlan plan = average_plan();
    const int64_t patches = given.h * given.w, count = given.N * patches;
    std::vector<float> embedded(count * 16), squared(count);
    std::vector<int64_t> rows(count);
    pyad::patch_aggregation(plan, given.features, given.N, embedded.data());
    check::at_each_level([&](pyad::Level) {
        const pyad::MemoryBank searched(bank.data(), bank.n, bank.D);
        searched.search(embedded.data(), count, 1, squared.data(), rows.data());
        const pyad::MemoryBankHead head(plan, searched, k);
        for (const int threads : {1, 2, 5}) {
            const check::Threads limit(threads);
            Scores found(given.N, patches);
            CHECK(head.score(given.features, given.N, nullptr, found.out()) ==
                  pyad::HeadStatus::ok);
            CHECK_SAME_BITS(found.rows.data(), rows.data(), count);
            for (int64_t i = 0; i < count; ++i) {
                CHECK_EQ(found.distances.data()[i], std::sqrt(squared[i]));
                CHECK_EQ(found.patch.data()[i], k ? std::sqrt(squared[i]) : squared[i]);
            }
            for (int64_t n = 0; n < given.N; ++n) {
                const float* own = squared.data() + n * patches;
                const int64_t winner = std::max_element(own, own + patches) - own;
                const int64_t at = n * patches + winner;
                const float expected = k ? plain_score(embedded.data() + at * 16, own[winner],
                                                       rows[at], bank, std::min(k, bank.n))
                                         : own[winner];
                CHECK_EQ(found.image.data()[n], expected);
            }
        }
    });
}

}  // namespace

PYAD_TEST(the_head_is_its_operations) {
    check::Random random(1);
    for (const int64_t k : {0, 2, 9, 100}) {
        const check::Rows bank = check::rows_of(check::Kind::normal, 70, 16, random);
        agrees(Case(1, 3, 4, random), bank, k);
        agrees(Case(3, 5, 1, random), bank, k);
        agrees(Case(11, 1, 2, random), bank, k);
    }
}

PYAD_TEST(the_head_with_ties_and_duplicates) {
    check::Random random(2);
    for (const check::Kind kind : {check::Kind::ties, check::Kind::duplicates, check::Kind::zeros})
        agrees(Case(2, 4, 4, random), check::rows_of(kind, 90, 16, random), 5);
}

PYAD_TEST(patches_that_do_not_count) {
    check::Random random(3);
    const Case given(2, 3, 3, random);
    const check::Rows bank = check::rows_of(check::Kind::normal, 40, 16, random);
    const pyad::AggregationPlan plan = average_plan();
    const pyad::MemoryBank searched(bank.data(), bank.n, bank.D);
    for (const int64_t k : {0, 4}) {
        const pyad::MemoryBankHead head(plan, searched, k);
        Scores whole(2, 36), found(2, 36);
        CHECK(head.score(given.features, 2, nullptr, whole.out()) == pyad::HeadStatus::ok);
        std::vector<uint8_t> valid(72, 1);
        for (int64_t n = 0; n < 2; ++n) {
            const float* own = whole.patch.data() + n * 36;
            valid[n * 36 + (std::max_element(own, own + 36) - own)] = 0;
        }
        CHECK(head.score(given.features, 2, valid.data(), found.out()) == pyad::HeadStatus::ok);
        for (int64_t i = 0; i < 72; ++i) {
            CHECK_EQ(found.rows.data()[i], valid[i] ? whole.rows.data()[i] : -1);
            CHECK_EQ(found.patch.data()[i], valid[i] ? whole.patch.data()[i] : 0.0f);
            CHECK_EQ(found.distances.data()[i], valid[i] ? whole.distances.data()[i] : 0.0f);
        }
        std::fill_n(valid.begin() + 36, 36, 0);
        CHECK(head.score(given.features, 2, valid.data(), found.out()) ==
              pyad::HeadStatus::no_patch);
    }
}

PYAD_TEST(what_is_not_finite_is_reported) {
    check::Random random(4);
    const check::Rows bank = check::rows_of(check::Kind::normal, 40, 16, random);
    const pyad::AggregationPlan plan = average_plan();
    const pyad::MemoryBank searched(bank.data(), bank.n, bank.D);
    const pyad::MemoryBankHead head(plan, searched, 3);
    for (const float bad : {check::kNaN, check::kInfinity, 3e38f, 1e25f}) {
        Case given(2, 3, 3, random);
        given.data[1][7] = bad;
        Scores found(2, 36);
        const auto status = head.score(given.features, 2, nullptr, found.out());
        CHECK(status ==
              (std::isfinite(bad) ? pyad::HeadStatus::overflow : pyad::HeadStatus::not_finite));
    }
}

PYAD_TEST(several_threads_share_one_head) {
    check::Random random(5);
    const check::Rows bank = check::rows_of(check::Kind::normal, 60, 16, random);
    const pyad::AggregationPlan plan = average_plan();
    const pyad::MemoryBank searched(bank.data(), bank.n, bank.D);
    const pyad::MemoryBankHead fresh(plan, searched, 6);
    std::vector<Case> given;
    std::vector<std::vector<float>> expected;
    for (int caller = 0; caller < 4; ++caller) given.emplace_back(1, 4, 3 + caller, random);
    for (Case& one : given) {  // moved: its maps lie elsewhere now
        one.features[0].data = one.data[0].data();
        one.features[1] = {one.data[1].data(), one.h / 2, one.w / 2, &one.rows, &one.columns};
        Scores scores(1, one.h * one.w);
        const pyad::MemoryBankHead alone(plan, searched, 6);
        CHECK(alone.score(one.features, 1, nullptr, scores.out()) == pyad::HeadStatus::ok);
        expected.emplace_back(scores.patch.data(), scores.patch.data() + one.h * one.w);
        expected.back().push_back(scores.image.data()[0]);
    }
    const check::Threads limit(2);
    std::vector<std::thread> callers;
    for (int caller = 0; caller < 4; ++caller)
        callers.emplace_back([&, caller] {
            const Case& one = given[caller];
            for (int round = 0; round < 20; ++round) {
                Scores scores(1, one.h * one.w);
                CHECK(fresh.score(one.features, 1, nullptr, scores.out()) == pyad::HeadStatus::ok);
                CHECK_SAME_BITS(scores.patch.data(), expected[caller].data(), one.h * one.w);
                CHECK_EQ(scores.image.data()[0], expected[caller].back());
            }
        });
    for (std::thread& caller : callers) caller.join();
}

PYAD_TEST(more_neighbors_than_are_kept_are_searched_for) {
    check::Random random(8);
    const check::Rows bank = check::rows_of(check::Kind::normal, 90, 16, random);
    const pyad::AggregationPlan plan = average_plan();
    const pyad::MemoryBank searched(bank.data(), bank.n, bank.D);
    const pyad::MemoryBankHead head(plan, searched, 70);
    const check::Rows patch = check::rows_of(check::Kind::normal, 1, 16, random);
    std::vector<float> around;
    std::vector<int64_t> rows(70);
    std::vector<float> distances(70);
    searched.search(bank.row(89), 1, 70, distances.data(), rows.data());
    for (const int64_t row : rows) around.push_back(searched.distance(patch.data(), row));
    std::sort(around.begin(), around.end());
    CHECK_EQ(head.reweight(patch.data(), 9.0f, 89),
             pyad::reweighted_score(9.0f, around.data(), 70));
}

PYAD_TEST(equation_7_at_its_ends) {
    const float same[3] = {4.0f, 4.0f, 4.0f};
    CHECK_NEAR(pyad::reweighted_score(4.0f, same, 3), 2.0 * (1.0 - 1.0 / 3.0), 2e-7);
    const float far[2] = {1.0f, 1e12f};  // a plain exp would overflow
    CHECK_EQ(pyad::reweighted_score(1.0f, far, 2), 1.0f);
    const float out_of_reach[3] = {4.0f, 5.0f, check::kInfinity};
    CHECK_EQ(pyad::reweighted_score(4.0f, out_of_reach, 3), 2.0f);
    CHECK_EQ(pyad::reweighted_score(4.0f, out_of_reach + 2, 1), 2.0f);
    const float no_number[2] = {check::kNaN, 9.0f};  // NaN comes out, not a number made of it
    CHECK(std::isnan(pyad::reweighted_score(4.0f, no_number, 2)));
    CHECK(std::isnan(pyad::reweighted_score(check::kNaN, far, 2)));
    CHECK(std::isnan(pyad::reweighted_score(-1.0f, far, 2)));
    const float zero[2] = {0.0f, 9.0f};
    CHECK_EQ(pyad::reweighted_score(0.0f, zero, 2), 0.0f);
    check::Random random(6);
    for (int i = 0; i < 300; ++i) {
        float around[4];
        for (float& value : around) value = std::fabs(random.normal()) * 100.0f;
        std::sort(around, around + 4);
        double sum = 0.0;
        for (const float value : around)
            sum += std::exp(std::sqrt(static_cast<double>(value)) -
                            std::sqrt(static_cast<double>(around[3])));
        const double s = std::sqrt(static_cast<double>(around[0]));
        const double weight = std::exp(s - std::sqrt(static_cast<double>(around[3]))) / sum;
        CHECK_NEAR(pyad::reweighted_score(around[0], around, 4), s * (1.0 - weight), 1e-6);
    }
}

PYAD_TEST(heads_give_the_same_bits_on_every_architecture) {
    check::at_each_level([](pyad::Level) {
        check::Random random(7);
        const check::Rows bank = check::rows_of(check::Kind::normal, 80, 16, random);
        const pyad::AggregationPlan plan = average_plan();
        const pyad::MemoryBank searched(bank.data(), bank.n, bank.D);
        const Case given(3, 4, 5, random);
        check::Digest digest;
        for (const int64_t k : {0, 7}) {
            Scores found(3, 80);
            const pyad::MemoryBankHead head(plan, searched, k);
            CHECK(head.score(given.features, 3, nullptr, found.out()) == pyad::HeadStatus::ok);
            digest.add(found.image.data(), 3).add(found.patch.data(), 240);
            digest.add(found.rows.data(), 240).add(found.distances.data(), 240);
        }
        CHECK_EQ(digest.value(), 3608694566u);
    });
}
