#include <pybind11/stl.h>

#include <tuple>
#include <vector>

#include "cuda_module.h"
#include "pyad/cuda/cosine_distance_map.h"

namespace pyad::bindings {
namespace {

// a, b, C, weight, level.
using Pair = std::tuple<Address, Address, int64_t, float, int64_t>;
// Rows and columns of a level, each with its tables.
using Axes = std::tuple<const Banded*, Address, const Banded*, Address>;

void distance_map(const std::vector<Pair>& pairs, bool channels_last, const std::vector<Axes>& axes,
                  int64_t N, Address workspace, Address maps, Address maxima, Address means,
                  Address stream) {
    std::vector<cuda::DeviceMapLevel> levels;
    for (const auto& [rows, row_tables, columns, column_tables] : axes)
        levels.push_back({rows, columns, pointer<void>(row_tables), pointer<void>(column_tables)});
    std::vector<FeaturePair> features;
    for (const auto& [a, b, C, weight, level] : pairs) {
        const cuda::DeviceMapLevel& own = levels.at(static_cast<size_t>(level));
        const int64_t stride = C * own.rows->columns * own.columns->columns;
        features.push_back({pointer<const float>(a), pointer<const float>(b), stride, stride, C,
                            channels_last, weight, level});
    }
    py::gil_scoped_release release;
    cuda::cosine_distance_map(features, levels, N, pointer<void>(workspace), pointer<float>(maps),
                              pointer<float>(maxima), pointer<float>(means), pointer<void>(stream));
}

}  // namespace

void register_cuda_cosine_distance_map(py::module_& m) {
    m.def("cosine_distance_map_workspace", &cuda::cosine_distance_map_workspace, py::arg("N"),
          py::arg("locations"), py::arg("H"));
    m.def("cosine_distance_map", &distance_map, py::arg("pairs"), py::arg("channels_last"),
          py::arg("axes"), py::arg("N"), py::arg("workspace"), py::arg("maps"), py::arg("maxima"),
          py::arg("means"), py::arg("stream"));
}

}  // namespace pyad::bindings
