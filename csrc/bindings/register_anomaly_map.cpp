#include "arrays.h"

namespace pyad::bindings {

void register_anomaly_map(py::module_&) {}

}  // namespace pyad::bindings
