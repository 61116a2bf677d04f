#include <pybind11/stl.h>

#include <tuple>
#include <vector>

#include "arrays.h"
#include "pyad/patch_aggregation.h"

namespace pyad::bindings {
namespace {

using Entries = std::tuple<int64_t, Array<int32_t>, Array<int32_t>, Array<int32_t>, Array<float>>;

AggregationPlan make_plan(int64_t dims, const std::vector<Entries>& levels) {
    const auto copy = [](const auto& a) { return std::vector(a.data(), a.data() + a.size()); };
    std::vector<AggregationLevel> copies;
    for (const auto& [channels, dim, channel, position, weight] : levels)
        copies.push_back({channels, copy(dim), copy(channel), copy(position), copy(weight)});
    return AggregationPlan(dims, std::move(copies));
}

void aggregate(const AggregationPlan& plan, const std::vector<Array<float>>& features,
               const std::vector<const Banded*>& rows, const std::vector<const Banded*>& columns,
               Array<float> out) {
    const auto refuse = [] {
        throw py::value_error(
            "[patch_aggregation] expected features, maps and out that fit the plan.");
    };
    if (features.size() != plan.levels.size() || features.empty() ||
        rows.size() != features.size() || columns.size() != features.size() || rows[0] ||
        out.ndim() != 4 || out.shape(3) != plan.dims)
        refuse();
    std::vector<FeatureMap> maps;
    for (size_t l = 0; l < features.size(); ++l) {
        const auto& a = features[l];
        if (a.ndim() != 4 || a.shape(0) != out.shape(0) ||
            a.shape(1) != plan.levels[l].entries.channels || !rows[l] != !columns[l] ||
            (rows[l] && rows[l]->taps > 2))  // bilinear maps mix two rows
            refuse();
        const FeatureMap map{a.data(), a.shape(2), a.shape(3), rows[l], columns[l]};
        if (map.h != (map.rows ? map.rows->columns : out.shape(1)) ||
            map.w != (map.columns ? map.columns->columns : out.shape(2)) ||
            (map.rows && (map.rows->rows != out.shape(1) || map.columns->rows != out.shape(2))))
            refuse();
        maps.push_back(map);
    }
    const int64_t N = out.shape(0);
    float* target = out.mutable_data();
    py::gil_scoped_release release;
    patch_aggregation(plan, maps, N, target);
}

}  // namespace

void register_patch_aggregation(py::module_& m) {
    py::class_<AggregationPlan>(m, "AggregationPlan")
        .def(py::init(&make_plan), py::arg("dims"), py::arg("levels").noconvert())
        .def_readonly("dims", &AggregationPlan::dims);
    m.def("patch_aggregation", &aggregate, py::arg("plan"), py::arg("features").noconvert(),
          py::arg("rows"), py::arg("columns"), py::arg("out").noconvert());
}

}  // namespace pyad::bindings
