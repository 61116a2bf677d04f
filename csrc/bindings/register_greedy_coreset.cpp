#include "arrays.h"
#include "pyad/greedy_coreset.h"

namespace pyad::bindings {

void register_greedy_coreset(py::module_& m) {
    m.def(
        "project",
        [](const Array<float>& points, const Array<float>& matrix, Array<float>& out) {
            const float *data = points.data(), *weights = matrix.data();
            float* result = out.mutable_data();
            const int64_t N = points.shape(0), D = points.shape(1), P = matrix.shape(1);
            py::gil_scoped_release release;
            project(data, N, D, weights, P, result);
        },
        py::arg("points").noconvert(), py::arg("matrix").noconvert(), py::arg("out").noconvert());

    py::class_<GreedyCoreset>(m, "GreedyCoreset")
        .def(py::init([](const Array<float>& points, const Array<float>& initial) {
                 const float *data = points.data(), *start = initial.data();
                 const int64_t N = points.shape(0), P = points.shape(1);
                 py::gil_scoped_release release;
                 return new GreedyCoreset(data, N, P, start);
             }),
             py::arg("points").noconvert(), py::arg("initial").noconvert(), py::keep_alive<1, 2>())
        .def("advance", &GreedyCoreset::advance, py::arg("limit"),
             py::call_guard<py::gil_scoped_release>())
        .def_property_readonly("count",
                               [](const GreedyCoreset& state) { return state.picks().size(); })
        .def_property_readonly("passes", &GreedyCoreset::passes)
        .def("picks", [](const GreedyCoreset& state) {
            Array<int64_t> picks(static_cast<py::ssize_t>(state.picks().size()));
            std::copy(state.picks().begin(), state.picks().end(), picks.mutable_data());
            return picks;
        });
}

}  // namespace pyad::bindings
