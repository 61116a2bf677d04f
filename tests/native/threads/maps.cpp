// cosine_distance_map.h and correlation_divergence.h.
#include <cmath>
#include <memory>

#include "../axes.h"
#include "../check.h"
#include "calls.h"
#include "pyad/correlation_divergence.h"
#include "pyad/cosine_distance_map.h"

namespace calls {
namespace {

Call cosine() {
    struct Shared {
        pyad::Banded rows[2] = {check::bilinear(4, 17), check::bilinear(3, 17)};
        pyad::Banded columns[2] = {check::bilinear(5, 19), check::bilinear(2, 19)};
        std::vector<float> values[kInputs];
    };
    const auto shared = std::make_shared<Shared>();
    check::Random random(4);
    for (auto& values : shared->values) values = random.normals(4 * 6 * 20);
    return {"cosine_distance_map", [shared](int i, int) {
                const float* a = shared->values[i].data();
                const float* b = shared->values[(i + 1) % kInputs].data();
                const std::vector<pyad::FeaturePair> pairs{{a, b, 120, 120, 6, false, 1.0f, 0},
                                                           {b, a, 60, 60, 10, true, 0.5f, 1}};
                const std::vector<pyad::MapLevel> levels{{&shared->rows[0], &shared->columns[0]},
                                                         {&shared->rows[1], &shared->columns[1]}};
                std::vector<float> maps(2 * 17 * 19), maxima(2), means(2);
                const auto fault = pyad::cosine_distance_map(pairs, levels, 2, maps.data(),
                                                             maxima.data(), means.data());
                return Result()
                    .add(std::vector<int>{fault.has_value()})
                    .add(maps)
                    .add(maxima)
                    .add(means);
            }};
}

Call correlation() {
    struct Shared {
        std::vector<float> queries[kInputs], keys, sigmas;
    };
    const auto shared = std::make_shared<Shared>();
    check::Random random(5);
    for (auto& queries : shared->queries) queries = random.normals(2 * 12 * 8);
    shared->keys = random.normals(2 * 12 * 8);
    for (const float value : random.normals(2 * 12))
        shared->sigmas.push_back(std::fabs(value) + 0.25f);
    return {"correlation_divergence", [shared](int i, int) {
                const pyad::CorrelationShape shape{1, 2, 3, 4, 8, i % 2 == 0};
                std::vector<float> scratch(pyad::correlation_scratch(shape)), per_head(24), out(12);
                pyad::correlation_divergence(shape, shared->queries[i].data(), shared->keys.data(),
                                             shared->sigmas.data(), shared->sigmas.data(), 0.35f,
                                             scratch.data(), per_head.data(), out.data());
                return Result().add(per_head).add(out);
            }};
}

}  // namespace

std::vector<Call> map_calls() { return {cosine(), correlation()}; }

}  // namespace calls
