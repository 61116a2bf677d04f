// patch_aggregation.h, nearest_neighbors.h, memory_bank_head.h, decide.h and rerank.h: one bank,
// one head and one decider for all threads, as a Runtime has them.
#include <memory>
#include <numeric>

#include "../axes.h"
#include "../check.h"
#include "calls.h"
#include "pyad/decide.h"
#include "pyad/memory_bank_head.h"
#include "pyad/rerank.h"

namespace calls {
namespace {

constexpr int64_t kRows = 70, kDims = 24, kHeight = 4, kWidth = 5, kPatches = kHeight * kWidth;

// Two levels of 8 and 16 channels, every channel's 3x3 mean.
pyad::AggregationPlan means() {
    std::vector<pyad::AggregationLevel> levels;
    int32_t dim = 0;
    for (const int32_t channels : {8, 16}) {
        pyad::AggregationLevel level{channels, {}, {}, {}, {}};
        for (int32_t c = 0; c < channels; ++c, ++dim)
            for (int32_t p = 0; p < 9; ++p) {
                level.dim.push_back(dim);
                level.channel.push_back(c);
                level.position.push_back(p);
                level.weight.push_back(1.0f / 9.0f);
            }
        levels.push_back(level);
    }
    return pyad::AggregationPlan(kDims, levels);
}

pyad::CertificatePlan certificate_plan() {
    pyad::CertificatePlan plan{kHeight, kWidth, 2, 2, std::vector<int64_t>(kRows), {}};
    std::iota(plan.order.begin(), plan.order.end(), 0);
    for (int64_t cell = 0; cell < 4; ++cell)
        for (int64_t step = 0; step < 2; ++step) plan.panels.push_back((cell + step) % 3);
    return plan;
}

struct Shared {
    std::vector<float> rows, fine[kInputs], coarse[kInputs], queries[kInputs];
    std::vector<int64_t> candidates;
    pyad::Banded up = check::bilinear(2, kHeight), across = check::bilinear(3, kWidth);
    pyad::AggregationPlan plan = means();
    pyad::MemoryBank bank;
    pyad::MemoryBankHead head, maximum;
    pyad::Certificate certificate;
    pyad::Decider decider;

    explicit Shared(check::Random random)
        : rows(random.normals(kRows * kDims)),
          bank(rows.data(), kRows, kDims),
          head(plan, bank, 5),
          maximum(plan, bank, 0),
          certificate(bank, certificate_plan()),
          decider(head, certificate) {
        for (int i = 0; i < kInputs; ++i) {
            fine[i] = random.normals(2 * 8 * kPatches);
            coarse[i] = random.normals(2 * 16 * 6);
            queries[i] = random.normals(7 * kDims);
        }
        for (int64_t q = 0; q < 7 * 9; ++q) candidates.push_back(random.below(kRows + 1) - 1);
    }
    std::vector<pyad::FeatureMap> features(int i) const {
        return {{fine[i].data(), kHeight, kWidth, nullptr, nullptr},
                {coarse[i].data(), 2, 3, &up, &across}};
    }
};

Result scored(const Shared& shared, const pyad::MemoryBankHead& head, int i) {
    std::vector<float> image(2), patch(2 * kPatches), distances(2 * kPatches);
    std::vector<int64_t> rows(2 * kPatches);
    const auto status = head.score(shared.features(i), 2, nullptr,
                                   {image.data(), patch.data(), rows.data(), distances.data()});
    return Result()
        .add(std::vector<int>{static_cast<int>(status)})
        .add(image)
        .add(patch)
        .add(distances)
        .add(rows);
}

}  // namespace

std::vector<Call> bank_calls() {
    const auto shared = std::make_shared<Shared>(check::Random(3));
    return {
        {"patch_aggregation",
         [shared](int i, int) {
             std::vector<float> out(2 * kPatches * kDims);
             pyad::patch_aggregation(shared->plan, shared->features(i), 2, out.data());
             return Result().add(out);
         }},
        {"nearest_neighbors",
         [shared](int i, int) {
             std::vector<float> distances(7 * 3);
             std::vector<int64_t> indices(7 * 3);
             shared->bank.search(shared->queries[i].data(), 7, 3, distances.data(), indices.data());
             return Result().add(distances).add(indices);
         }},
        {"memory_bank_head", [shared](int i, int) { return scored(*shared, shared->head, i); }},
        {"memory_bank_head maximum",
         [shared](int i, int) { return scored(*shared, shared->maximum, i); }},
        {"reweight",
         [shared](int i, int w) {
             const int64_t row = (7 * i + 13 * w) % kRows;  // neighbours that others ask for too
             return Result().add(
                 std::vector<float>{shared->head.reweight(shared->queries[i].data(), 9.0f, row)});
         }},
        {"decide",
         [shared](int i, int) {
             const float bar = static_cast<float>(1 << (2 * i));
             const auto found = shared->decider.decide(shared->features(i), nullptr, bar, i % 2);
             // How many were searched may depend on the threads; the verdict may not.
             return Result()
                 .add(std::vector<int>{static_cast<int>(found.status), found.scored})
                 .add(std::vector<float>{found.score})
                 .add(std::vector<int64_t>{found.winner});
         }},
        {"rerank",
         [shared](int i, int) {
             std::vector<float> distances(7 * 2);
             std::vector<int64_t> indices(7 * 2);
             const bool sound =
                 pyad::rerank(shared->queries[i].data(), 7, kDims, shared->rows.data(),
                              shared->candidates.data(), 9, 2, distances.data(), indices.data());
             return Result().add(std::vector<int>{sound}).add(distances).add(indices);
         }},
        {"all_finite",
         [shared](int i, int) {
             const auto& values = shared->fine[i];
             return Result().add(std::vector<int>{
                 pyad::all_finite(values.data(), static_cast<int64_t>(values.size()))});
         }},
    };
}

}  // namespace calls
