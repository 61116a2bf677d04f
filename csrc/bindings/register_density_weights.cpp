#include "arrays.h"
#include "pyad/density_weights.h"

namespace pyad::bindings {

void register_density_weights(py::module_& m) {
    m.def(
        "density_weights",
        [](const Array<float>& features, const Array<float>& queue, double beta,
           Array<float>& log_weights) {
            const float *x = features.data(), *z = queue.data();
            float* out = log_weights.mutable_data();
            const int64_t q = features.shape(0), Q = queue.shape(0), D = queue.shape(1);
            py::gil_scoped_release release;
            return density_weights(x, q, z, Q, D, beta, out);
        },
        py::arg("features").noconvert(), py::arg("queue").noconvert(), py::arg("beta"),
        py::arg("log_weights").noconvert());
}

}  // namespace pyad::bindings
