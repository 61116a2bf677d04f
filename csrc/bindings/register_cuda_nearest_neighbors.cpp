#include "cuda_module.h"
#include "pyad/cuda/nearest_neighbors.h"

namespace pyad::bindings {

void register_cuda_nearest_neighbors(py::module_& m) {
    using cuda::MemoryBank;
    using cuda::SearchForm;
    py::enum_<SearchForm>(m, "SearchForm")
        .value("exact", SearchForm::exact)
        .value("half_fused", SearchForm::half_fused)
        .value("half_gemm", SearchForm::half_gemm)
        .value("bytes_fused", SearchForm::bytes_fused)
        .value("bytes_gemm", SearchForm::bytes_gemm);
    py::class_<MemoryBank>(m, "MemoryBank")
        .def(py::init([](Address rows, int64_t M, int64_t D, bool bytes, Address stream) {
                 py::gil_scoped_release release;
                 return new MemoryBank(pointer<const float>(rows), M, D, bytes,
                                       pointer<void>(stream));
             }),
             py::arg("rows"), py::arg("M"), py::arg("D"), py::arg("bytes"), py::arg("stream"))
        .def_property_readonly("size", &MemoryBank::size)
        .def_property_readonly("dim", &MemoryBank::dim)
        .def_property_readonly("screened", &MemoryBank::screened)
        .def_property_readonly("has_bytes", &MemoryBank::has_bytes)
        .def("choose", &MemoryBank::choose)
        .def("workspace_size", &MemoryBank::workspace_size)
        .def(
            "search",
            [](const MemoryBank& bank, Address queries, int64_t Q, int64_t k, SearchForm form,
               Address workspace, Address distances, Address indices, Address stream) {
                py::gil_scoped_release release;
                bank.search(pointer<const float>(queries), Q, k, form, pointer<void>(workspace),
                            pointer<float>(distances), pointer<int64_t>(indices),
                            pointer<void>(stream));
            },
            py::arg("queries"), py::arg("Q"), py::arg("k"), py::arg("form"), py::arg("workspace"),
            py::arg("distances"), py::arg("indices"), py::arg("stream"));
}

}  // namespace pyad::bindings
