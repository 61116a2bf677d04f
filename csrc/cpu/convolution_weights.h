// Weights in the order that the kernels of convolution_kernels.h read them.
#pragma once

#include <cstdint>

#include "convolution_kernels.h"
#include "pyad/aligned.h"

namespace pyad {

// Panels of the kernels' output channels, each (C or C rounded up to 16, P, Q) rows of them, the
// missing ones zero. Blocks of 16 channels: (C / 16, P, Q, 16, panel); planes: (C, P, Q, panel).
// Packed in pairs it is (C / 16, P, Q, 8, panel, 2), or (C, P, Q / 2 rounded up, panel, 2).
AlignedVector<float> pack_weights(const float* weights, int64_t K, int64_t C, int64_t P, int64_t Q,
                                  bool planes, const ConvolutionKernels& kernels);

// Panels of (positions, C rounded up to 16, panel), or (positions, C / 2, panel, 2): G g G^T of 3
// by 3 windows, computed in float64.
AlignedVector<float> transform_weights(const float* weights, int64_t K, int64_t C,
                                       const ConvolutionKernels& kernels);

}  // namespace pyad
