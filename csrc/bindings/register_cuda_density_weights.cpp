#include "cuda_module.h"
#include "pyad/cuda/density_weights.h"

namespace pyad::bindings {

void register_cuda_density_weights(py::module_& m) {
    m.def("density_weights_workspace", &cuda::density_weights_workspace, py::arg("q"), py::arg("Q"),
          py::arg("D"));
    m.def(
        "density_weights",
        [](Address features, int64_t q, Address queue, int64_t Q, int64_t D, double beta,
           Address workspace, Address log_weights, Address stream) {
            py::gil_scoped_release release;
            cuda::density_weights(pointer<const float>(features), q, pointer<const float>(queue), Q,
                                  D, beta, pointer<void>(workspace), pointer<float>(log_weights),
                                  pointer<void>(stream));
        },
        py::arg("features"), py::arg("q"), py::arg("queue"), py::arg("Q"), py::arg("D"),
        py::arg("beta"), py::arg("workspace"), py::arg("log_weights"), py::arg("stream"));
}

}  // namespace pyad::bindings
