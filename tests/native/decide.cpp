// pyad/decide.h and certificate.h against the full search of the head, at every level and thread
// count: rows of every kind, limits exactly at a distance and a unit beside it.
#include "pyad/decide.h"

#include <algorithm>
#include <limits>
#include <thread>

#include "check.h"
#include "levels.h"
#include "rows.h"

namespace {

using check::kInfinity;

constexpr int64_t kHeight = 5, kWidth = 7, kPatches = kHeight * kWidth;

// Patches as they are: one level, one entry of weight 1 for each dim.
pyad::AggregationPlan identity(int64_t D) {
    pyad::AggregationLevel level;
    level.channels = D;
    for (int32_t d = 0; d < D; ++d) {
        level.dim.push_back(d);
        level.channel.push_back(d);
        level.position.push_back(4);
        level.weight.push_back(1.0f);
    }
    return pyad::AggregationPlan(D, {level});
}

struct Case {
    check::Rows patches, bank;
    std::vector<float> planes;  // (D, h, w)
    pyad::AggregationPlan plan;

    Case(check::Rows of_picture, check::Rows rows)
        : patches(std::move(of_picture)),
          bank(std::move(rows)),
          planes(patches.values.size()),
          plan(identity(patches.D)) {
        for (int64_t q = 0; q < kPatches; ++q)
            for (int64_t d = 0; d < patches.D; ++d) planes[d * kPatches + q] = patches.row(q)[d];
    }
    std::vector<pyad::FeatureMap> features() const {
        return {{planes.data(), kHeight, kWidth, nullptr, nullptr}};
    }
};

// Rows in reverse, `walk` panels for each of 2 x 3 cells.
pyad::CertificatePlan plan_of(int64_t M, int64_t walk) {
    pyad::CertificatePlan plan{kHeight, kWidth, 2, 3, {}, {}};
    for (int64_t m = M - 1; m >= 0; --m) plan.order.push_back(m);
    const int64_t panels = (M + 31) / 32;
    for (int64_t i = 0; i < 6 * std::min(walk, panels); ++i)
        plan.panels.push_back((i * 5 + i / 6) % panels);
    return plan;
}

// The decision at bars around every distance that the full search finds.
void agrees(const Case& of, int64_t neighbors, const uint8_t* valid = nullptr) {
    const int64_t M = of.bank.n;
    check::at_each_level([&](pyad::Level) {
        const pyad::MemoryBank bank(of.bank.data(), M, of.bank.D);
        const pyad::MemoryBankHead head(of.plan, bank, neighbors);
        const pyad::Certificate certificate(bank, plan_of(M, 2));
        const pyad::Decider decider(head, certificate);
        std::vector<float> squared(kPatches);
        std::vector<int64_t> nearest(kPatches);
        bank.search(of.patches.data(), kPatches, 1, squared.data(), nearest.data());
        std::vector<float> image(1), patch(kPatches), distances(kPatches);
        std::vector<int64_t> rows(kPatches);
        const auto status = head.score(of.features(), 1, valid,
                                       {image.data(), patch.data(), rows.data(), distances.data()});
        float largest = -1.0f;
        for (int64_t q = 0; q < kPatches; ++q)
            if (!valid || valid[q]) largest = std::max(largest, squared[q]);
        std::vector<float> bars{-1.0f, 0.0f, 1e30f};
        for (const float value : {squared[0], largest})
            for (const float bar : {std::nextafter(value, -kInfinity), value,
                                    std::nextafter(value, kInfinity), 2.0f * value})
                if (bar < kInfinity) bars.push_back(bar);
        for (const int threads : {1, 3}) {
            const check::Threads limit(threads);
            for (const float bar : bars)
                for (const bool exact : {false, true}) {
                    const pyad::PictureDecision found =
                        decider.decide(of.features(), valid, bar, exact);
                    CHECK(found.searched <= kPatches);
                    if (status != pyad::HeadStatus::ok) {
                        CHECK(found.status == status);
                        continue;
                    }
                    CHECK(found.status == pyad::HeadStatus::ok);
                    CHECK_EQ(found.scored, exact || largest > bar);
                    if (!found.scored) continue;
                    CHECK_SAME_BITS(&found.score, image.data(), 1);
                    const auto first =
                        std::find_if(squared.begin(), squared.end(), [&](const float& value) {
                            return value == largest && (!valid || valid[&value - squared.data()]);
                        });
                    CHECK_EQ(found.winner, first - squared.begin());
                }
        }
    });
}

}  // namespace

PYAD_TEST(decisions_of_every_kind_of_rows) {
    check::Random random(21);
    for (const check::Kind kind : check::kAllKinds)
        for (const int64_t M : {1, 31, 100})
            for (const int64_t neighbors : {0, 3})
                agrees(Case(check::rows_of(kind, kPatches, 19, random),
                            check::rows_of(kind, M, 19, random)),
                       neighbors);
}

PYAD_TEST(decisions_of_rows_longer_than_eight_bits_serve) {
    check::Random random(22);
    agrees(Case(check::rows_of(check::Kind::normal, kPatches, 1030, random),
                check::rows_of(check::Kind::normal, 70, 1030, random)),
           0);
}

PYAD_TEST(decisions_where_all_patches_lie_in_the_bank_or_are_equal) {
    check::Random random(23);
    const check::Rows rows = check::rows_of(check::Kind::sparse, 90, 24, random);
    std::vector<int64_t> copied(kPatches), equal(kPatches, 7);
    for (int64_t& row : copied) row = random.below(90);
    for (const int64_t neighbors : {0, 5}) {
        agrees(Case(check::picked(rows, copied), rows), neighbors);
        agrees(Case(check::picked(rows, equal), rows), neighbors);
        agrees(Case(check::rows_of(check::Kind::sparse, kPatches, 24, random),
                    check::picked(rows, std::vector<int64_t>(40, 3))),
               neighbors);
    }
}

PYAD_TEST(patches_that_do_not_count_decide_nothing) {
    check::Random random(24);
    const Case of(check::rows_of(check::Kind::normal, kPatches, 20, random),
                  check::rows_of(check::Kind::normal, 80, 20, random));
    std::vector<uint8_t> valid(kPatches, 0);
    agrees(of, 0, valid.data());
    for (uint8_t& counts : valid) counts = random.below(2) == 0;
    agrees(of, 0, valid.data());
    agrees(of, 4, valid.data());
    valid.assign(kPatches, 0);
    valid[11] = 1;
    agrees(of, 4, valid.data());
}

PYAD_TEST(a_patch_that_is_not_finite_is_never_decided) {
    check::Random random(25);
    const check::Rows rows = check::rows_of(check::Kind::normal, 80, 20, random);
    const pyad::MemoryBank bank(rows.data(), rows.n, rows.D);
    for (const float value : {check::kNaN, kInfinity, -kInfinity}) {
        check::Rows patches = check::rows_of(check::Kind::normal, kPatches, 20, random);
        patches.values[17 * 20 + 3] = value;
        const Case of(patches, rows);
        const pyad::MemoryBankHead head(of.plan, bank, 0);
        check::at_each_level([&](pyad::Level) {
            const pyad::Certificate certificate(bank, plan_of(rows.n, 3));
            const pyad::Decider decider(head, certificate);
            std::vector<uint8_t> valid(kPatches, 1);
            valid[17] = 0;
            for (const uint8_t* counts :
                 {static_cast<const uint8_t*>(nullptr), static_cast<const uint8_t*>(valid.data())})
                CHECK(decider.decide(of.features(), counts, 1e30f, false).status ==
                      pyad::HeadStatus::not_finite);
        });
    }
}

PYAD_TEST(several_threads_decide_with_one_decider) {
    check::Random random(26);
    const check::Rows rows = check::rows_of(check::Kind::normal, 200, 32, random);
    const pyad::MemoryBank bank(rows.data(), rows.n, rows.D);
    const Case of(check::rows_of(check::Kind::normal, kPatches, 32, random), rows);
    const pyad::MemoryBankHead head(of.plan, bank, 3);
    const pyad::Certificate certificate(bank, plan_of(rows.n, 3));
    const pyad::Decider decider(head, certificate);
    const check::Threads limit(2);
    const pyad::PictureDecision expected = decider.decide(of.features(), nullptr, 30.0f, true);
    std::vector<pyad::PictureDecision> found(4);
    std::vector<std::thread> threads;
    for (pyad::PictureDecision& one : found)
        threads.emplace_back([&] {
            for (int i = 0; i < 5; ++i) one = decider.decide(of.features(), nullptr, 30.0f, true);
        });
    for (std::thread& thread : threads) thread.join();
    for (const pyad::PictureDecision& one : found) {
        CHECK_SAME_BITS(&one.score, &expected.score, 1);
        CHECK_EQ(one.winner, expected.winner);
        CHECK_EQ(one.searched, expected.searched);
    }
}

PYAD_TEST(the_number_of_threads_may_change_while_others_score_and_decide) {
    check::Random random(28);
    const check::Rows rows = check::rows_of(check::Kind::normal, 200, 32, random);
    const pyad::MemoryBank bank(rows.data(), rows.n, rows.D);
    const Case of(check::rows_of(check::Kind::normal, kPatches, 32, random), rows);
    const pyad::MemoryBankHead head(of.plan, bank, 3);
    const pyad::Certificate certificate(bank, plan_of(rows.n, 3));
    const pyad::Decider decider(head, certificate);
    const check::Threads limit(2);
    const float expected = decider.decide(of.features(), nullptr, 30.0f, true).score;
    std::vector<std::thread> threads;
    for (int caller = 0; caller < 4; ++caller)
        threads.emplace_back([&, caller] {
            std::vector<float> image(1), patch(kPatches), distances(kPatches);
            std::vector<int64_t> nearest(kPatches);
            const pyad::HeadScores out{image.data(), patch.data(), nearest.data(),
                                       distances.data()};
            for (int i = 0; i < 8; ++i) {
                pyad::set_num_threads(1 + (i + caller) % 3);
                const auto found = decider.decide(of.features(), nullptr, 30.0f, true);
                CHECK_SAME_BITS(&found.score, &expected, 1);
                CHECK(head.score(of.features(), 1, nullptr, out) == pyad::HeadStatus::ok);
                CHECK_SAME_BITS(image.data(), &expected, 1);
            }
        });
    for (std::thread& thread : threads) thread.join();
}

PYAD_TEST(a_bar_that_is_no_number_is_refused) {
    check::Random random(26);
    const check::Rows rows = check::rows_of(check::Kind::normal, 70, 8, random);
    const Case of(check::rows_of(check::Kind::normal, kPatches, 8, random), rows);
    const pyad::MemoryBank bank(rows.data(), rows.n, rows.D);
    const pyad::MemoryBankHead head(of.plan, bank, 3);
    const pyad::Certificate certificate(bank, plan_of(rows.n, 2));
    const pyad::Decider decider(head, certificate);
    std::vector<uint8_t> valid(kPatches, 0);
    valid[5] = 1;
    for (const bool exact : {false, true})
        CHECK_THROWS(decider.decide(of.features(), valid.data(), check::kNaN, exact), "NaN");
    CHECK_EQ(decider.decide(of.features(), valid.data(), 0.0f, true).winner, 5);
}

PYAD_TEST(plans_that_do_not_fit_are_refused) {
    check::Random random(27);
    const check::Rows rows = check::rows_of(check::Kind::normal, 70, 8, random);
    const pyad::MemoryBank bank(rows.data(), rows.n, rows.D);
    const auto refused = [&](auto&& spoil) {
        pyad::CertificatePlan plan = plan_of(70, 2);
        spoil(plan);
        CHECK_THROWS(pyad::Certificate(bank, plan), "witness_plan");
    };
    refused([](pyad::CertificatePlan& plan) { plan.order[3] = plan.order[4]; });
    refused([](pyad::CertificatePlan& plan) { plan.order.pop_back(); });
    refused([](pyad::CertificatePlan& plan) { plan.panels[0] = 3; });
    refused([](pyad::CertificatePlan& plan) { plan.panels[0] = -1; });
    refused([](pyad::CertificatePlan& plan) { plan.panels.pop_back(); });
    refused([](pyad::CertificatePlan& plan) { plan.strips = 0; });
    refused([](pyad::CertificatePlan& plan) { plan.columns = kWidth + 1; });
    refused([](pyad::CertificatePlan& plan) {  // as many cells as 64 bits hold, and none more
        plan.h = plan.w = plan.strips = plan.columns = int64_t{1} << 32;
    });
    refused([](pyad::CertificatePlan& plan) { plan.h = std::numeric_limits<int64_t>::max(); });
    CHECK(pyad::Certificate(bank, plan_of(70, 2)).usable());
}
