#include <pybind11/stl.h>

#include "arrays.h"
#include "pyad/ceiling.h"

namespace pyad::bindings {

void register_ceiling(py::module_& m) {
    const auto free = py::call_guard<py::gil_scoped_release>();
    m.def("peak_names", &peak_names);
    m.def("peak_rate", &peak_rate, py::arg("name"), free);
    m.def("read_rate", &read_rate, py::arg("bytes"), free);
    m.def("copy_rate", &copy_rate, py::arg("bytes"), free);
}

}  // namespace pyad::bindings
