#include <pybind11/stl.h>

#include <array>

#include "arrays.h"
#include "pyad/preprocess.h"

namespace pyad::bindings {

void register_preprocess(py::module_& m) {
    m.def(
        "preprocess",
        [](py::array image, const Banded& rows, const Banded& columns, std::array<float, 3> scale,
           std::array<float, 3> offset, bool bgr, Array<float> out) {
            if (!py::isinstance<py::array_t<uint8_t>>(image) || image.ndim() != 4)
                throw py::type_error("[preprocess] expected an (N, H, W, C) array of uint8.");
            if (out.ndim() != 4 || out.shape(0) != image.shape(0) || out.shape(1) != 3 ||
                out.shape(2) != rows.rows || out.shape(3) != columns.rows)
                throw py::value_error("[preprocess] expected out of shape (N, 3, h, w).");
            const Frames frames{static_cast<const uint8_t*>(image.data()),
                                image.shape(0),
                                image.shape(1),
                                image.shape(2),
                                image.shape(3),
                                image.strides(0),
                                image.strides(1),
                                image.strides(2),
                                image.strides(3)};
            const Normalization normalization{{scale[0], scale[1], scale[2]},
                                              {offset[0], offset[1], offset[2]}};
            float* target = out.mutable_data();
            py::gil_scoped_release release;
            pyad::preprocess(frames, rows, columns, normalization, bgr, target);
        },
        py::arg("image").noconvert(), py::arg("rows"), py::arg("columns"), py::arg("scale"),
        py::arg("offset"), py::arg("bgr"), py::arg("out").noconvert());
}

}  // namespace pyad::bindings
