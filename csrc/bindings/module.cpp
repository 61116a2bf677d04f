// The CPU kernels as the Python module pyad_edge._native. Each register_*.cpp adds one topic.
#include "arrays.h"

PYBIND11_MODULE(_native, m) {
    m.doc() = "CPU kernels of pyad_edge; call them through pyad_edge.ops.";
    using namespace pyad::bindings;
    register_threads(m);
    register_ceiling(m);
    register_banded(m);
    register_nearest_neighbors(m);
    register_greedy_coreset(m);
    register_preprocess(m);
    register_patch_aggregation(m);
    register_memory_bank_head(m);
    register_decide(m);
    register_anomaly_map(m);
    register_cosine_distance_map(m);
    register_rerank(m);
    register_correlation_divergence(m);
    register_density_weights(m);
    register_convolution(m);
}
