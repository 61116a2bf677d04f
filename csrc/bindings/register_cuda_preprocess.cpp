#include <pybind11/stl.h>

#include <array>

#include "cuda_module.h"
#include "pyad/cuda/preprocess.h"

namespace pyad::bindings {

void register_cuda_preprocess(py::module_& m) {
    using Four = std::array<int64_t, 4>;
    using Three = std::array<float, 3>;
    m.def(
        "preprocess",
        [](Address image, const Four& shape, const Four& strides, const Banded& rows,
           Address row_tables, const Banded& columns, Address column_tables, const Three& scale,
           const Three& offset, bool bgr, Address out, Address stream) {
            const Frames frames{pointer<const uint8_t>(image),
                                shape[0],
                                shape[1],
                                shape[2],
                                shape[3],
                                strides[0],
                                strides[1],
                                strides[2],
                                strides[3]};
            const Normalization norm{{scale[0], scale[1], scale[2]},
                                     {offset[0], offset[1], offset[2]}};
            py::gil_scoped_release release;
            cuda::preprocess(frames, rows, pointer<void>(row_tables), columns,
                             pointer<void>(column_tables), norm, bgr, pointer<float>(out),
                             pointer<void>(stream));
        },
        py::arg("image"), py::arg("shape"), py::arg("strides"), py::arg("rows"),
        py::arg("row_tables"), py::arg("columns"), py::arg("column_tables"), py::arg("scale"),
        py::arg("offset"), py::arg("bgr"), py::arg("out"), py::arg("stream"));
}

}  // namespace pyad::bindings
