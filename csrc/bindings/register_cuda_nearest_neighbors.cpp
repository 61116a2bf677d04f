#include "cuda_module.h"
#include "pyad/cuda/nearest_neighbors.h"

namespace pyad::bindings {

void register_cuda_nearest_neighbors(py::module_& m) {
    m.def(
        "nearest_neighbors",
        [](const Array<float>& queries, const Array<float>& bank, Array<float>& distances,
           Array<int64_t>& indices) {
            const float *query_data = queries.data(), *bank_data = bank.data();
            float* out = distances.mutable_data();
            int64_t* neighbors = indices.mutable_data();
            const int64_t Q = queries.shape(0), M = bank.shape(0), D = bank.shape(1);
            py::gil_scoped_release release;
            cuda::nearest_neighbors(query_data, Q, bank_data, M, D, out, neighbors);
        },
        py::arg("queries").noconvert(), py::arg("bank").noconvert(),
        py::arg("distances").noconvert(), py::arg("indices").noconvert());
}

}  // namespace pyad::bindings
