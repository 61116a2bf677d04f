// Camera pictures to network input: resize, crop, scale and normalise in one pass.
//
//   out[n, c, y, x] = scale[c] * (sum over i, j of rows[y, i] * columns[x, j] * in[n, i, j, c]) +
//   offset[c]
//
// in      (N, H, W, C) uint8, C = 1 or 3, any strides
// rows    (h, H) and columns (w, W): antialiased bilinear resize and crop of each axis (triangle of
//         half-width max(1, H / h) at half-pixel centres, normalised at the border), as in Pillow
//         and in torchvision with antialias=True, but without rounding between or after the two
//         passes
// out     (N, 3, h, w) float32, RGB; C = 1 repeats the channel
// scale[c] = 1 / (255 std[c]), offset[c] = -mean[c] / std[c]
//
// The rows are summed first, then the columns, each in order of their taps: the result does not
// depend on threads, batch size, strides or instruction set. uint8 has no NaN. Limit: sides below
// 2^24.
#pragma once

#include <cstdint>

#include "pyad/banded.h"

namespace pyad {

struct Frames {
    const uint8_t* data;
    int64_t N, H, W, C;
    int64_t stride_n, stride_h, stride_w, stride_c;  // bytes, may be negative
};

struct Normalization {
    float scale[3], offset[3];  // of R, G, B
};

// Throws std::invalid_argument where C is neither 1 nor 3 or the maps do not fit H and W.
void preprocess(const Frames& in, const Banded& rows, const Banded& columns,
                const Normalization& normalization, bool bgr, float* out);

}  // namespace pyad
