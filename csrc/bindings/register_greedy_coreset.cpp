#include "arrays.h"

namespace pyad::bindings {

void register_greedy_coreset(py::module_&) {}

}  // namespace pyad::bindings
