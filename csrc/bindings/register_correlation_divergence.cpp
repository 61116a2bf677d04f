#include <algorithm>
#include <initializer_list>

#include "arrays.h"
#include "pyad/correlation_divergence.h"

namespace pyad::bindings {

void register_correlation_divergence(py::module_& m) {
    m.def(
        "correlation_scratch",
        [](int64_t N, int64_t heads, int64_t h, int64_t w, int64_t d, bool shared_keys) {
            return pyad::correlation_scratch({N, heads, h, w, d, shared_keys});
        },
        py::arg("N"), py::arg("heads"), py::arg("h"), py::arg("w"), py::arg("d"),
        py::arg("shared_keys"));
    m.def(
        "correlation_divergence",
        [](Array<float> queries, Array<float> keys, Array<float> sigma_x, Array<float> sigma_y,
           int64_t h, int64_t w, float scale, Array<float> scratch, Array<float> per_head,
           Array<float> divergence) {
            const auto has_shape = [](const Array<float>& a,
                                      std::initializer_list<py::ssize_t> shape) {
                return std::equal(a.shape(), a.shape() + a.ndim(), shape.begin(), shape.end());
            };
            if (queries.ndim() != 4)
                throw py::value_error(
                    "[correlation_divergence] expected queries of shape (N, heads, L, d).");
            const py::ssize_t N = queries.shape(0), heads = queries.shape(1), L = queries.shape(2),
                              d = queries.shape(3);
            const CorrelationShape shape{N, heads, h, w, d, keys.ndim() == 3};
            const bool keys_fit =
                has_shape(keys, {N, heads, L, d}) || has_shape(keys, {heads, L, d});
            if (h < 1 || w < 1 || L % h != 0 || L / h != w || heads < 1 || d < 1 || !keys_fit ||
                !has_shape(sigma_x, {N, heads, L}) || !has_shape(sigma_y, {N, heads, L}) ||
                !has_shape(per_head, {N, heads, L}) || !has_shape(divergence, {N, L}) ||
                scratch.size() < pyad::correlation_scratch(shape))
                throw py::value_error(
                    "[correlation_divergence] expected arrays that fit queries and the grid.");
            const float *q = queries.data(), *k = keys.data();
            const float *x = sigma_x.data(), *y = sigma_y.data();
            float* packed = scratch.mutable_data();
            float *heads_out = per_head.mutable_data(), *out = divergence.mutable_data();
            py::gil_scoped_release release;
            pyad::correlation_divergence(shape, q, k, x, y, scale, packed, heads_out, out);
        },
        py::arg("queries").noconvert(), py::arg("keys").noconvert(), py::arg("sigma_x").noconvert(),
        py::arg("sigma_y").noconvert(), py::arg("h"), py::arg("w"), py::arg("scale"),
        py::arg("scratch").noconvert(), py::arg("per_head").noconvert(),
        py::arg("divergence").noconvert());
}

}  // namespace pyad::bindings
