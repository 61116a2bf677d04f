#include <pybind11/stl.h>

#include "arrays.h"
#include "pyad/level.h"
#include "pyad/parallel.h"

namespace pyad::bindings {

void register_threads(py::module_& m) {
    m.def("num_threads", &num_threads);
    m.def("set_num_threads", &set_num_threads, py::arg("n"));
    m.def("cpu_level", [] { return level_name(active_level()); });
    m.def("set_cpu_level", &set_level, py::arg("name"));
    m.def("has_bf16", &has_bf16);
    m.def("cpu_levels", [] {
        py::list names;
        for (const Level level : available_levels()) names.append(level_name(level));
        return names;
    });
}

}  // namespace pyad::bindings
