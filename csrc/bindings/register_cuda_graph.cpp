#include "cuda_module.h"
#include "pyad/cuda/graph.h"

namespace pyad::bindings {

void register_cuda_graph(py::module_& m) {
    m.def("make_stream", [] { return reinterpret_cast<Address>(cuda::make_stream()); });
    m.def("release_stream", [](Address stream) { cuda::release_stream(pointer<void>(stream)); });
    m.def("begin_capture", [](Address stream) { cuda::begin_capture(pointer<void>(stream)); });
    py::class_<cuda::Graph>(m, "Graph")
        .def(py::init([](Address stream, bool discard) {
                 return new cuda::Graph(pointer<void>(stream), discard);
             }),
             py::arg("stream"), py::arg("discard") = false)
        .def("launch", [](const cuda::Graph& graph, Address stream) {
            py::gil_scoped_release release;
            graph.launch(pointer<void>(stream));
        });
}

}  // namespace pyad::bindings
