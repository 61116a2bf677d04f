// preprocess.h, patch_aggregation.h and anomaly_map.h.
#include <memory>

#include "../axes.h"
#include "../check.h"
#include "calls.h"
#include "pyad/anomaly_map.h"
#include "pyad/preprocess.h"

namespace calls {
namespace {

Call preprocess() {
    struct Shared {
        pyad::Banded rows = check::triangles(15, 9), columns = check::triangles(18, 10);
        pyad::Normalization normalization{{0.01f, 0.02f, 0.03f}, {-1.0f, -2.0f, 0.5f}};
        std::vector<uint8_t> frames[kInputs];
    };
    const auto shared = std::make_shared<Shared>();
    check::Random random(1);
    for (auto& frame : shared->frames) {
        frame.resize(15 * 18 * 3);
        for (uint8_t& byte : frame) byte = static_cast<uint8_t>(random.below(256));
    }
    return {"preprocess", [shared](int i, int) {
                std::vector<float> out(3 * 9 * 10);
                pyad::preprocess({shared->frames[i].data(), 1, 15, 18, 3, 810, 54, 3, 1},
                                 shared->rows, shared->columns, shared->normalization, i % 2,
                                 out.data());
                return Result().add(out);
            }};
}

Call anomaly_map() {
    struct Shared {
        pyad::Banded rows = check::bilinear(5, 21), columns = check::bilinear(6, 24);
        std::vector<float> scores[kInputs];
    };
    const auto shared = std::make_shared<Shared>();
    check::Random random(2);
    for (auto& scores : shared->scores) scores = random.normals(2 * 5 * 6);
    return {"anomaly_map", [shared](int i, int) {
                std::vector<float> wide(2 * 5 * 24), maps(2 * 21 * 24), maxima(2);
                pyad::anomaly_map(shared->scores[i].data(), 2, shared->rows, shared->columns,
                                  wide.data(), maps.data(), maxima.data());
                return Result().add(maps).add(maxima);
            }};
}

}  // namespace

std::vector<Call> picture_calls() { return {preprocess(), anomaly_map()}; }

}  // namespace calls
