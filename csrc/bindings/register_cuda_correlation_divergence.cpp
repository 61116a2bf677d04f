#include "cuda_module.h"
#include "pyad/cuda/correlation_divergence.h"

namespace pyad::bindings {

void register_cuda_correlation_divergence(py::module_& m) {
    m.attr("correlation_sides") = cuda::kCorrelationSides;
    m.def(
        "correlation_divergence",
        [](Address queries, Address keys, bool shared_keys, Address sigma_x, Address sigma_y,
           int64_t N, int64_t heads, int64_t h, int64_t w, int64_t d, float scale, Address per_head,
           Address divergence, Address stream) {
            py::gil_scoped_release release;
            cuda::correlation_divergence(
                {N, heads, h, w, d, shared_keys}, pointer<const float>(queries),
                pointer<const float>(keys), pointer<const float>(sigma_x),
                pointer<const float>(sigma_y), scale, pointer<float>(per_head),
                pointer<float>(divergence), pointer<void>(stream));
        },
        py::arg("queries"), py::arg("keys"), py::arg("shared_keys"), py::arg("sigma_x"),
        py::arg("sigma_y"), py::arg("N"), py::arg("heads"), py::arg("h"), py::arg("w"),
        py::arg("d"), py::arg("scale"), py::arg("per_head"), py::arg("divergence"),
        py::arg("stream"));
}

}  // namespace pyad::bindings
