// convolution.h: one network for all, a plan for each worker (a plan serves one call at a time).
#include <memory>

#include "../check.h"
#include "calls.h"
#include "pyad/convolution.h"
#include "pyad/level.h"

namespace calls {
namespace {

struct Shared {
    std::shared_ptr<pyad::ConvolutionNetwork> network;
    std::vector<std::unique_ptr<pyad::ConvolutionPlan>> plans;
    std::vector<float> inputs[kInputs];

    Shared(int workers, bool bf16) {
        check::Random random(6);
        network = std::make_shared<pyad::ConvolutionNetwork>(3, 9, 10, bf16);
        const auto convolve = [&](int64_t source, int64_t C, int64_t K, int64_t side,
                                  int64_t residual, pyad::ConvolutionForm form) {
            const std::vector<float> weights = random.normals(K * C * side * side);
            const std::vector<float> bias = random.normals(K);
            const int64_t padding = side / 2;
            return network->convolution(source, weights.data(), bias.data(), K,
                                        {side, side, 1, 1, padding, padding, padding, padding},
                                        residual, {0.0f, 50.0f}, form);
        };
        const int64_t first = convolve(0, 3, 17, 3, -1, pyad::ConvolutionForm::direct);
        const int64_t second = convolve(first, 17, 17, 3, first, pyad::ConvolutionForm::winograd);
        const int64_t third = convolve(second, 17, 20, 1, -1, pyad::ConvolutionForm::automatic);
        const int64_t pooled = network->maximum(third, {3, 3, 2, 2, 1, 1, 1, 1});
        for (int w = 0; w < workers; ++w)
            plans.push_back(std::make_unique<pyad::ConvolutionPlan>(
                network, std::vector<int64_t>{second, pooled}, 1, 2));
        for (auto& input : inputs) input = random.normals(3 * 9 * 10);
    }
};

}  // namespace

std::vector<Call> network_calls(int workers) {
    std::vector<Call> made;
    for (const bool bf16 : {false, true}) {
        if (bf16 && !pyad::has_bf16()) continue;
        const auto shared = std::make_shared<Shared>(workers, bf16);
        made.push_back({bf16 ? "convolution in bf16" : "convolution", [shared](int i, int w) {
                            std::vector<float> second(17 * 9 * 10), pooled(20 * 5 * 5);
                            shared->plans[w]->run(shared->inputs[i].data(),
                                                  {second.data(), pooled.data()});
                            return Result().add(second).add(pooled);
                        }});
    }
    return made;
}

}  // namespace calls
