#include "arrays.h"

namespace pyad::bindings {

void register_patch_aggregation(py::module_&) {}

}  // namespace pyad::bindings
