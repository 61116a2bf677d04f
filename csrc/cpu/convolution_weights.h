// Weights in the order that the kernels of convolution_kernels.h read them.
#pragma once

#include <cstdint>

#include "pyad/aligned.h"

namespace pyad {

// Panels of `panel` output channels, each (C or C rounded up to 16, P, Q) rows of them, the missing
// ones zero. Blocks of 16 channels: (C / 16, P, Q, 16, panel); planes: (C, P, Q, panel).
AlignedVector<float> pack_weights(const float* weights, int64_t K, int64_t C, int64_t P, int64_t Q,
                                  bool planes, int64_t panel);

// Panels of (36, C rounded up to 16, panel): G g G^T of 3 by 3 windows, computed in float64.
AlignedVector<float> transform_weights(const float* weights, int64_t K, int64_t C, int64_t panel);

}  // namespace pyad
