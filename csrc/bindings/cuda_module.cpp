// The CUDA kernels as the Python module pyad_edge._cuda. Importing it needs neither a driver nor a
// device. Each register_cuda_*.cpp adds one topic.
#include "cuda_module.h"

PYBIND11_MODULE(_cuda, m) {
    m.doc() = "CUDA kernels of pyad_edge; call them through pyad_edge.ops.cuda.";
    using namespace pyad::bindings;
    register_cuda_device(m);
    register_cuda_dlpack(m);
    register_cuda_nearest_neighbors(m);
    register_cuda_greedy_coreset(m);
    register_cuda_preprocess(m);
    register_cuda_patch_aggregation(m);
    register_cuda_anomaly_map(m);
    register_cuda_density_weights(m);
    register_cuda_cosine_distance_map(m);
    register_cuda_correlation_divergence(m);
    register_cuda_picture_scores(m);
    register_cuda_graph(m);
}
