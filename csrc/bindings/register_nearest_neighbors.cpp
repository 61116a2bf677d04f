#include "arrays.h"
#include "pyad/nearest_neighbors.h"

namespace pyad::bindings {

void register_nearest_neighbors(py::module_& m) {
    m.def(
        "all_finite",
        [](const Array<float>& values) {
            const float* data = values.data();
            const int64_t n = values.size();
            py::gil_scoped_release release;
            return all_finite(data, n);
        },
        py::arg("values").noconvert());

    py::enum_<Screen>(m, "Screen")
        .value("auto", Screen::automatic)
        .value("float32", Screen::float32)
        .value("bfloat16", Screen::bfloat16)
        .value("int8", Screen::int8);

    m.def("chosen_screen", &chosen_screen, py::arg("wanted"), py::arg("dim"));

    py::class_<MemoryBank>(m, "MemoryBank")
        .def(py::init([](const Array<float>& rows, Screen screen, const Array<float>& basis) {
                 const float* data = rows.data();
                 const int64_t M = rows.shape(0), D = rows.shape(1);
                 SearchOptions options;
                 options.screen = screen;
                 options.basis = basis.size() ? basis.data() : nullptr;
                 options.basis_dim = basis.shape(1);
                 py::gil_scoped_release release;
                 return new MemoryBank(data, M, D, options);
             }),
             py::arg("rows").noconvert(), py::arg("screen"), py::arg("basis").noconvert())
        .def_property_readonly("size", &MemoryBank::size)
        .def_property_readonly("dim", &MemoryBank::dim)
        .def_property_readonly("screened_dim", &MemoryBank::screened_dim)
        .def_property_readonly("screen", &MemoryBank::screen)
        .def(
            "search",
            [](const MemoryBank& bank, const Array<float>& queries, Array<float>& distances,
               Array<int64_t>& indices, Array<int64_t>& evaluated) {
                const float* data = queries.data();
                float* out = distances.mutable_data();
                int64_t* neighbors = indices.mutable_data();
                int64_t* counts = evaluated.size() ? evaluated.mutable_data() : nullptr;
                const int64_t Q = queries.shape(0), k = distances.shape(1);
                py::gil_scoped_release release;
                bank.search(data, Q, k, out, neighbors, counts);
            },
            py::arg("queries").noconvert(), py::arg("distances").noconvert(),
            py::arg("indices").noconvert(), py::arg("evaluated").noconvert());
}

}  // namespace pyad::bindings
