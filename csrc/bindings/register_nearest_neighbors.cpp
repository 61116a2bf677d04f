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

    py::class_<MemoryBank>(m, "MemoryBank")
        .def(py::init([](const Array<float>& rows) {
                 const float* data = rows.data();
                 const int64_t M = rows.shape(0), D = rows.shape(1);
                 py::gil_scoped_release release;
                 return new MemoryBank(data, M, D);
             }),
             py::arg("rows").noconvert())
        .def_property_readonly("size", &MemoryBank::size)
        .def_property_readonly("dim", &MemoryBank::dim)
        .def(
            "search",
            [](const MemoryBank& bank, const Array<float>& queries, Array<float>& distances,
               Array<int64_t>& indices) {
                const float* data = queries.data();
                float* out = distances.mutable_data();
                int64_t* neighbors = indices.mutable_data();
                const int64_t Q = queries.shape(0), k = distances.shape(1);
                py::gil_scoped_release release;
                bank.search(data, Q, k, out, neighbors);
            },
            py::arg("queries").noconvert(), py::arg("distances").noconvert(),
            py::arg("indices").noconvert());
}

}  // namespace pyad::bindings
