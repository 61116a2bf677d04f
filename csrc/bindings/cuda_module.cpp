// The CUDA kernels as the Python module pyad_edge._cuda. Importing it needs neither a driver nor a
// device.
#include "arrays.h"
#include "pyad/cuda/nearest_neighbors.h"

PYBIND11_MODULE(_cuda, m) {
    namespace py = pybind11;
    using pyad::bindings::Array;
    m.doc() = "CUDA kernels of pyad_edge; call them through pyad_edge.ops.cuda.";
    m.def("device_count", &pyad::cuda::device_count);
    m.def(
        "nearest_neighbors",
        [](const Array<float>& queries, const Array<float>& bank, Array<float>& distances,
           Array<int64_t>& indices) {
            const float *query_data = queries.data(), *bank_data = bank.data();
            float* out = distances.mutable_data();
            int64_t* neighbors = indices.mutable_data();
            const int64_t Q = queries.shape(0), M = bank.shape(0), D = bank.shape(1);
            py::gil_scoped_release release;
            pyad::cuda::nearest_neighbors(query_data, Q, bank_data, M, D, out, neighbors);
        },
        py::arg("queries").noconvert(), py::arg("bank").noconvert(),
        py::arg("distances").noconvert(), py::arg("indices").noconvert());
}
