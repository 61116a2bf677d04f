#include "cuda_module.h"
#include "pyad/cuda/anomaly_map.h"
#include "pyad/cuda/banded.h"

namespace pyad::bindings {

void register_cuda_anomaly_map(py::module_& m) {
    // What has to lie in device memory for a map of one axis; pyad_edge._native makes the map.
    m.def("pack", [](const Banded& map) {
        Array<uint8_t> packed(static_cast<py::ssize_t>(cuda::packed_bytes(map)));
        cuda::pack(map, packed.mutable_data());
        return packed;
    });
    m.def("anomaly_map_workspace", &cuda::anomaly_map_workspace, py::arg("N"), py::arg("H"),
          py::arg("W"));
    m.def(
        "anomaly_map",
        [](Address scores, int64_t N, const Banded& rows, Address row_tables, const Banded& columns,
           Address column_tables, Address workspace, Address maps, Address maxima, Address stream) {
            py::gil_scoped_release release;
            cuda::anomaly_map(pointer<const float>(scores), N, rows, pointer<void>(row_tables),
                              columns, pointer<void>(column_tables), pointer<void>(workspace),
                              pointer<float>(maps), pointer<float>(maxima), pointer<void>(stream));
        },
        py::arg("scores"), py::arg("N"), py::arg("rows"), py::arg("row_tables"), py::arg("columns"),
        py::arg("column_tables"), py::arg("workspace"), py::arg("maps"), py::arg("maxima"),
        py::arg("stream"));
}

}  // namespace pyad::bindings
