#include "arrays.h"

namespace pyad::bindings {

void register_preprocess(py::module_&) {}

}  // namespace pyad::bindings
