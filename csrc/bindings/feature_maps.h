// Feature maps of a backbone as the kernels take them.
#pragma once

#include <pybind11/stl.h>

#include <vector>

#include "arrays.h"
#include "pyad/patch_aggregation.h"

namespace pyad::bindings {

// Levels (N, C, h, w) as a plan takes them: float32, C-contiguous, or uint16 that holds bfloat16,
// channels last in memory. Refuses what does not fit.
inline std::vector<FeatureMap> maps_of(const AggregationPlan& plan,
                                       const std::vector<py::array>& features,
                                       const std::vector<const Banded*>& rows,
                                       const std::vector<const Banded*>& columns) {
    const auto refuse = [] {
        throw py::value_error("[memory_bank] expected features and maps that fit the plan.");
    };
    const size_t levels = plan.levels.size();
    if (features.size() != levels || rows.size() != levels || columns.size() != levels || rows[0] ||
        columns[0])
        refuse();
    std::vector<FeatureMap> maps;
    maps.reserve(levels);
    for (size_t l = 0; l < levels; ++l) {
        const auto& a = features[l];
        if (a.ndim() != 4 || a.shape(0) != features[0].shape(0) ||
            a.shape(1) != plan.levels[l].entries.channels || !rows[l] != !columns[l])
            refuse();
        const bool bfloat16 = py::isinstance<py::array_t<uint16_t>>(a);
        if (!bfloat16 && !py::isinstance<Array<float>>(a)) refuse();
        if (bfloat16) {
            py::ssize_t stride = 2;
            for (const int axis : {1, 3, 2, 0}) {  // an axis of one has any stride
                if (a.shape(axis) > 1 && a.strides(axis) != stride) refuse();
                stride *= a.shape(axis);
            }
        }
        const FeatureMap map{bfloat16 ? nullptr : static_cast<const float*>(a.data()),
                             a.shape(2),
                             a.shape(3),
                             rows[l],
                             columns[l],
                             bfloat16 ? static_cast<const uint16_t*>(a.data()) : nullptr};
        const int64_t h = features[0].shape(2), w = features[0].shape(3);
        if (map.rows ? map.rows->taps > 2 || map.rows->columns != map.h || map.rows->rows != h ||
                           map.columns->columns != map.w || map.columns->rows != w
                     : map.h != h || map.w != w)
            refuse();
        maps.push_back(map);
    }
    return maps;
}

}  // namespace pyad::bindings
