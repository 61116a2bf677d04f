#include "arrays.h"

namespace pyad::bindings {

void register_nearest_neighbors(py::module_&) {}

}  // namespace pyad::bindings
