#include <pybind11/stl.h>

#include <algorithm>
#include <initializer_list>
#include <iterator>
#include <optional>
#include <tuple>
#include <vector>

#include "arrays.h"
#include "pyad/cosine_distance_map.h"

namespace pyad::bindings {
namespace {

using Strided = py::array_t<float, 0>;
using Pair = std::tuple<Strided, Strided, float, int64_t>;
using Bands = std::tuple<const Banded*, const Banded*>;

// Whether one picture's axes, outermost first, lie behind each other without gaps.
bool packed(const Strided& a, std::initializer_list<int> axes) {
    py::ssize_t step = 1;
    for (auto axis = std::rbegin(axes); axis != std::rend(axes); ++axis) {
        if (a.shape(*axis) != 1 && a.strides(*axis) != step * a.itemsize()) return false;
        step *= a.shape(*axis);
    }
    return a.strides(0) % a.itemsize() == 0;
}

std::optional<std::tuple<int64_t, int64_t, int64_t, int64_t>> distance_map(
    const std::vector<Pair>& pairs, const std::vector<Bands>& bands, Array<float> maps,
    Array<float> maxima, Array<float> means) {
    const auto refuse = [] {
        throw py::value_error(
            "[cosine_distance_map] expected pairs, maps of the axes and outputs that fit.");
    };
    if (pairs.empty() || maps.ndim() != 3 || maps.shape(0) == 0) refuse();
    const int64_t N = maps.shape(0);
    std::vector<MapLevel> levels;
    for (const auto& [rows, columns] : bands) {
        if (!rows || !columns || rows->rows != maps.shape(1) || columns->rows != maps.shape(2))
            refuse();
        levels.push_back({rows, columns});
    }
    std::vector<bool> used(levels.size());
    std::vector<FeaturePair> features;
    for (const auto& [a, b, weight, l] : pairs) {
        if (l < 0 || l >= static_cast<int64_t>(levels.size()) || a.ndim() != 4 || b.ndim() != 4 ||
            !std::equal(a.shape(), a.shape() + 4, b.shape()) || a.shape(0) != N || a.shape(1) < 1 ||
            a.shape(2) != levels[l].rows->columns || a.shape(3) != levels[l].columns->columns)
            refuse();
        const bool planes = packed(a, {1, 2, 3}) && packed(b, {1, 2, 3});
        if (!planes && !(packed(a, {2, 3, 1}) && packed(b, {2, 3, 1}))) refuse();
        used[l] = true;
        features.push_back({a.data(), b.data(), a.strides(0) / a.itemsize(),
                            b.strides(0) / b.itemsize(), a.shape(1), !planes, weight, l});
    }
    if (std::find(used.begin(), used.end(), false) != used.end() || maxima.size() != N ||
        means.size() != N)
        refuse();
    float *map = maps.mutable_data(), *maximum = maxima.mutable_data(),
          *mean = means.mutable_data();
    py::gil_scoped_release release;
    const auto fault = cosine_distance_map(features, levels, N, map, maximum, mean);
    if (!fault) return std::nullopt;
    return std::make_tuple(fault->pair, fault->n, fault->y, fault->x);
}

}  // namespace

void register_cosine_distance_map(py::module_& m) {
    m.def("cosine_distance_map", &distance_map, py::arg("pairs").noconvert(), py::arg("bands"),
          py::arg("maps").noconvert(), py::arg("maxima").noconvert(), py::arg("means").noconvert());
}

}  // namespace pyad::bindings
