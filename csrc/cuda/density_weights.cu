#include "density_weights.cuh"

namespace pyad::cuda {

size_t density_weights_workspace(int64_t q, int64_t Q, int64_t D) {
    return DensityCall(nullptr, q, nullptr, Q, D, 1.0, nullptr, nullptr).bytes;
}

void density_weights(const float* features, int64_t q, const float* queue, int64_t Q, int64_t D,
                     double beta, void* workspace, float* log_weights, void* stream) {
    const DensityCall call(features, q, queue, Q, D, beta, workspace, log_weights);
    if (q == 0) return;
    launch("density_weights", call.pack_features, call.feature_rows(), stream);
    launch("density_weights", call.pack_queue, call.queue_rows(), stream);
    launch("density_weights", call.sums, call.blocks(), stream);
    launch("density_weights", call.finish, call.features(), stream);
}

}  // namespace pyad::cuda
