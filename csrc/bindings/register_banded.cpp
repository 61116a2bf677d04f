#include <vector>

#include "arrays.h"
#include "pyad/banded.h"

namespace pyad::bindings {

void register_banded(py::module_& m) {
    py::class_<Banded>(m, "Banded")
        .def(py::init([](int64_t columns, Array<int32_t> start, Array<int32_t> count,
                         Array<float> weights) {
                 const auto copy = [](const auto& a) {
                     return std::vector(a.data(), a.data() + a.size());
                 };
                 return Banded(columns, copy(start), copy(count), copy(weights));
             }),
             py::arg("columns"), py::arg("start").noconvert(), py::arg("count").noconvert(),
             py::arg("weights").noconvert())
        .def_readonly("rows", &Banded::rows)
        .def_readonly("columns", &Banded::columns)
        .def_readonly("taps", &Banded::taps);
}

}  // namespace pyad::bindings
