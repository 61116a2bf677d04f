#include <algorithm>
#include <initializer_list>

#include "arrays.h"
#include "pyad/anomaly_map.h"

namespace pyad::bindings {

void register_anomaly_map(py::module_& m) {
    m.def(
        "anomaly_map",
        [](Array<float> scores, const Banded& rows, const Banded& columns, Array<float> wide,
           Array<float> maps, Array<float> maxima) {
            const auto has_shape = [](const Array<float>& a,
                                      std::initializer_list<py::ssize_t> shape) {
                return std::equal(a.shape(), a.shape() + a.ndim(), shape.begin(), shape.end());
            };
            const py::ssize_t N = maxima.size();
            if (!has_shape(scores, {N, rows.columns, columns.columns}) ||
                !has_shape(wide, {N, rows.columns, columns.rows}) ||
                !has_shape(maps, {N, rows.rows, columns.rows}))
                throw py::value_error(
                    "[anomaly_map] expected arrays that fit the maps of the two axes.");
            const float* source = scores.data();
            float* scratch = wide.mutable_data();
            float* targets = maps.mutable_data();
            float* peaks = maxima.mutable_data();
            py::gil_scoped_release release;
            pyad::anomaly_map(source, N, rows, columns, scratch, targets, peaks);
        },
        py::arg("scores").noconvert(), py::arg("rows"), py::arg("columns"),
        py::arg("wide").noconvert(), py::arg("maps").noconvert(), py::arg("maxima").noconvert());
}

}  // namespace pyad::bindings
