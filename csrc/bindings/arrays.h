// What every binding needs: array types and the check that an argument is what its contract says.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>

namespace pyad::bindings {

namespace py = pybind11;

// C-contiguous arrays of exactly this type. The Python faces in pyad_edge/ops convert and explain;
// a binding that is called with anything else raises TypeError and never converts.
template <typename T>
using Array = py::array_t<T, py::array::c_style>;

void register_threads(py::module_& m);
void register_ceiling(py::module_& m);
void register_banded(py::module_& m);
void register_nearest_neighbors(py::module_& m);
void register_memory_bank_head(py::module_& m);
void register_decide(py::module_& m);
void register_greedy_coreset(py::module_& m);
void register_preprocess(py::module_& m);
void register_patch_aggregation(py::module_& m);
void register_anomaly_map(py::module_& m);
void register_cosine_distance_map(py::module_& m);
void register_rerank(py::module_& m);
void register_correlation_divergence(py::module_& m);
void register_density_weights(py::module_& m);
void register_convolution(py::module_& m);

}  // namespace pyad::bindings
