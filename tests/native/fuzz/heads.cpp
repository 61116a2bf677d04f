// patch_aggregation.h, memory_bank_head.h, certificate.h and decide.h.
#include <numeric>

#include "parts.h"
#include "pyad/decide.h"
#include "pyad/memory_bank_head.h"
#include "target.h"

using fuzz::Bytes;
using fuzz::Exact;

namespace {

// As pyad_edge.heads.witness_plan makes it; one in four is broken somewhere.
pyad::CertificatePlan certificate_plan(Bytes& bytes, int64_t h, int64_t w, int64_t M) {
    pyad::CertificatePlan plan{h, w, bytes.within(1, h), bytes.within(1, w), {}, {}};
    plan.order.resize(static_cast<size_t>(M));
    std::iota(plan.order.begin(), plan.order.end(), 0);
    for (int64_t i = bytes.below(8); i > 0; --i)
        std::swap(plan.order[bytes.below(M)], plan.order[bytes.below(M)]);
    const int64_t walk = bytes.below(5);
    plan.panels =
        bytes.wholes<int64_t>(plan.strips * plan.columns * walk, 0, (M - 1) / pyad::kPanel).copy();
    if (!bytes.one_in(4)) return plan;
    int64_t* const numbers[] = {&plan.h, &plan.w, &plan.strips, &plan.columns};
    switch (bytes.below(4)) {
        case 0:
            for (int64_t* number : numbers)
                if (bytes.one_in(2)) *number = bytes.hostile();
            break;
        case 1:
            *numbers[bytes.below(4)] = bytes.hostile();
            break;
        case 2:
            plan.order[bytes.below(M)] = bytes.hostile();
            break;
        default:
            if (bytes.one_in(2)) plan.panels.push_back(0);
            if (!plan.panels.empty()) plan.panels.back() = bytes.hostile();
    }
    return plan;
}

}  // namespace

// csrc/bindings/register_patch_aggregation.cpp checks features and `out`; the plan checks itself.
PYAD_FUZZ(patch_aggregation) {
    const pyad::AggregationPlan plan = fuzz::aggregation_plan(bytes);
    const int64_t N = bytes.below(3), h = bytes.size(1, 20), w = bytes.size(1, 20);
    const fuzz::Features features(bytes, plan, N, h, w);
    Exact<float> out(N * h * w * plan.dims, bytes.below(16));
    pyad::patch_aggregation(plan, features.maps(), N, out.data());
    if (N == 0) return;
    const int64_t y0 = bytes.below(h), y1 = bytes.within(y0, h);
    pyad::aggregate_rows(plan, features.maps(), bytes.below(N), y0, y1, out.data());
}

// csrc/bindings/feature_maps.h checks features, register_memory_bank_head.cpp outputs, mask and
// row.
PYAD_FUZZ(memory_bank_head) {
    const pyad::AggregationPlan plan = fuzz::aggregation_plan(bytes);
    fuzz::require(plan.dims <= 1000, "rows that a bank has");
    const int64_t M = bytes.size(1, 100), D = bytes.one_in(32) ? plan.dims + 1 : plan.dims;
    const auto bank = fuzz::memory_bank(bytes, M, D);
    const int64_t k = bytes.one_in(16) ? bytes.hostile() : bytes.below(90);
    const pyad::MemoryBankHead head(plan, *bank, k);
    for (int64_t call = bytes.within(1, 2); call > 0; --call) {
        const int64_t N = bytes.below(4), h = bytes.size(1, 9), w = bytes.size(1, 9);
        const fuzz::Features features(bytes, plan, N, h, w);
        const auto valid = fuzz::mask(bytes, N * h * w);
        Exact<float> image(N), patch(N * h * w), distances(N * h * w, bytes.below(16));
        Exact<int64_t> rows(N * h * w);
        const bool one_array = head.neighbors() > 0 && bytes.one_in(2);
        const pyad::HeadScores out{image.data(), one_array ? distances.data() : patch.data(),
                                   rows.data(), distances.data()};
        const auto status = head.score(features.maps(), N, valid ? valid->data() : nullptr, out);
        if (status != pyad::HeadStatus::ok) continue;
        for (int64_t i = 0; i < N * h * w; ++i)
            fuzz::expect(rows[i] >= (valid && !(*valid)[i] ? -1 : 0) && rows[i] < M, "a row");
    }
    if (head.neighbors() < 1) return;
    const Exact<float> one = bytes.floats(D, true);
    head.reweight(one.data(), bytes.number(), bytes.below(M));
}

// register_memory_bank_head.cpp checks that there are neighbours.
PYAD_FUZZ(reweighted_score) {
    const int64_t k = bytes.size(1, 60);
    const Exact<float> around = bytes.floats(k);
    pyad::reweighted_score(bytes.number(), around.data(), k);
}

// csrc/bindings/feature_maps.h checks features, register_decide.cpp the grid and the mask; the plan
// of the certificate checks itself.
PYAD_FUZZ(decide) {
    const pyad::AggregationPlan plan = fuzz::aggregation_plan(bytes);
    fuzz::require(plan.dims <= 1000, "rows that a bank has");
    const int64_t M = bytes.size(1, 100), h = bytes.size(1, 9), w = bytes.size(1, 9);
    const auto bank = fuzz::memory_bank(bytes, M, plan.dims);
    const pyad::MemoryBankHead head(plan, *bank, bytes.below(12));
    const pyad::Certificate certificate(*bank, certificate_plan(bytes, h, w, M));
    const pyad::Decider decider(head, certificate);
    fuzz::require(decider.h() == h && decider.w() == w, "the plan's grid");
    for (int64_t call = bytes.within(1, 2); call > 0; --call) {
        const fuzz::Features features(bytes, plan, 1, h, w);
        const auto valid = fuzz::mask(bytes, h * w);
        const pyad::PictureDecision decision = decider.decide(
            features.maps(), valid ? valid->data() : nullptr, bytes.number(), bytes.one_in(2));
        if (decision.status != pyad::HeadStatus::ok || !decision.scored) continue;
        fuzz::expect(decision.winner >= 0 && decision.winner < h * w, "a patch");
        fuzz::expect(!valid || (*valid)[decision.winner], "a patch that counts");
    }
}
