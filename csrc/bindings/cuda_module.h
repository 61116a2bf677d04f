// What every CUDA binding needs. Device arrays and streams come as integers: pyad_edge/ops/cuda
// checks shapes, types and the device, and hands over the address.
#pragma once

#include "arrays.h"

namespace pyad::bindings {

using Address = std::uintptr_t;

template <typename T>
T* pointer(Address address) {
    return reinterpret_cast<T*>(address);
}

void register_cuda_device(py::module_& m);
void register_cuda_dlpack(py::module_& m);
void register_cuda_nearest_neighbors(py::module_& m);
void register_cuda_greedy_coreset(py::module_& m);
void register_cuda_preprocess(py::module_& m);
void register_cuda_patch_aggregation(py::module_& m);
void register_cuda_anomaly_map(py::module_& m);
void register_cuda_density_weights(py::module_& m);
void register_cuda_cosine_distance_map(py::module_& m);
void register_cuda_correlation_divergence(py::module_& m);
void register_cuda_picture_scores(py::module_& m);
void register_cuda_graph(py::module_& m);

}  // namespace pyad::bindings
