// Patch scores to a smooth map at the network's resolution, and its maximum.
//
//   maps[n] = rows * scores[n] * columns^T
//   maxima[n] = max over y, x of maps[n, y, x]
//
// scores  (N, h, w) float32, finite
// rows    (H, h) and columns (W, w): bilinear up-sampling (half-pixel centres, clamped at the
//         border) followed by a Gaussian (radius int(4 sigma + 0.5), half-sample symmetric border),
//         folded into one map per axis
// maps    (N, H, W) float32
// maxima  (N,) float32
//
// Source: PatchCore (Roth et al., 2022), section 3.3, with the official code's Gaussian of sigma 4.
// The columns are summed first, then the rows, each in order of their taps.
//
// Limits: finite values. NaN is refused by the Python face; here it spreads into the map and is
// skipped by the maximum.
#pragma once

#include <cstdint>

#include "pyad/banded.h"

namespace pyad {

// wide: scratch of (N, h, W) floats.
void anomaly_map(const float* scores, int64_t N, const Banded& rows, const Banded& columns,
                 float* wide, float* maps, float* maxima);

}  // namespace pyad
