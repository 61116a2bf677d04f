#include "arrays.h"
#include "pyad/rerank.h"

namespace pyad::bindings {

void register_rerank(py::module_& m) {
    m.def(
        "rerank",
        [](const Array<float>& queries, const Array<float>& rows, const Array<int64_t>& candidates,
           Array<float> distances, Array<int64_t> indices) {
            const int64_t Q = queries.shape(0), D = queries.shape(1);
            const int64_t c = candidates.shape(1), k = distances.shape(1);
            const float* data = queries.data();
            const float* bank = rows.data();
            const int64_t* proposed = candidates.data();
            float* out = distances.mutable_data();
            int64_t* neighbors = indices.mutable_data();
            py::gil_scoped_release release;
            return rerank(data, Q, D, bank, proposed, c, k, out, neighbors);
        },
        py::arg("queries").noconvert(), py::arg("rows").noconvert(),
        py::arg("candidates").noconvert(), py::arg("distances").noconvert(),
        py::arg("indices").noconvert());
}

}  // namespace pyad::bindings
