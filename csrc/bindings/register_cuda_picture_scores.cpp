#include "cuda_module.h"
#include "pyad/cuda/picture_scores.h"

namespace pyad::bindings {

void register_cuda_picture_scores(py::module_& m) {
    m.def(
        "picture_scores",
        [](int64_t N, int64_t P, Address squared, Address rows, Address valid, Address distances,
           Address winners, Address patches, Address bank, Address neighborhoods, Address around,
           int64_t D, int64_t k, Address stream) {
            const cuda::PictureScores call{N,
                                           P,
                                           pointer<float>(squared),
                                           pointer<int64_t>(rows),
                                           pointer<const uint8_t>(valid),
                                           pointer<float>(distances),
                                           pointer<int64_t>(winners),
                                           pointer<const float>(patches),
                                           pointer<const float>(bank),
                                           pointer<const int64_t>(neighborhoods),
                                           pointer<float>(around),
                                           D,
                                           k};
            py::gil_scoped_release release;
            cuda::picture_scores(call, pointer<void>(stream));
        },
        py::kw_only(), py::arg("N"), py::arg("P"), py::arg("squared"), py::arg("rows"),
        py::arg("valid"), py::arg("distances"), py::arg("winners"), py::arg("patches"),
        py::arg("bank"), py::arg("neighborhoods"), py::arg("around"), py::arg("D"), py::arg("k"),
        py::arg("stream"));
}

}  // namespace pyad::bindings
