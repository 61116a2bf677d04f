#include <pybind11/stl.h>

#include <tuple>
#include <vector>

#include "cuda_module.h"
#include "pyad/cuda/patch_aggregation.h"

namespace pyad::bindings {
namespace {

// One level: features, (h, w), and the up-sampling of each axis with its tables, or None and 0.
using Level = std::tuple<Address, int64_t, int64_t, const Banded*, Address, const Banded*, Address>;

void aggregate(const AggregationPlan& plan, Address tables, const std::vector<Level>& levels,
               int64_t N, Address out, Address stream) {
    std::vector<cuda::DeviceFeatureMap> maps;
    for (const auto& [data, h, w, rows, row_tables, columns, column_tables] : levels)
        maps.push_back({{pointer<const float>(data), h, w, rows, columns},
                        pointer<void>(row_tables),
                        pointer<void>(column_tables)});
    py::gil_scoped_release release;
    cuda::patch_aggregation(plan, pointer<void>(tables), maps, N, pointer<float>(out),
                            pointer<void>(stream));
}

}  // namespace

void register_cuda_patch_aggregation(py::module_& m) {
    m.def("pack", [](const AggregationPlan& plan) {
        Array<uint8_t> packed(static_cast<py::ssize_t>(cuda::packed_bytes(plan)));
        cuda::pack(plan, packed.mutable_data());
        return packed;
    });
    m.def("patch_aggregation", &aggregate, py::arg("plan"), py::arg("tables"), py::arg("levels"),
          py::arg("N"), py::arg("out"), py::arg("stream"));
}

}  // namespace pyad::bindings
