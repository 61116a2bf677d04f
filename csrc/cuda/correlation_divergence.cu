#include "correlation_divergence.cuh"

namespace pyad::cuda {

void correlation_divergence(const CorrelationShape& shape, const float* queries, const float* keys,
                            const float* sigma_x, const float* sigma_y, float scale,
                            float* per_head, float* divergence, void* stream) {
    const CorrelationCall call(shape, queries, keys, sigma_x, sigma_y, scale, per_head, divergence);
    launch("correlation_divergence", call.rows, call.blocks(), stream);
    launch("correlation_divergence", call.mean, call.means(), stream);
}

}  // namespace pyad::cuda
