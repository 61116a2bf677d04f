// A map of D numbers to r + 1 that never lengthens a distance: vectors far apart after it were far
// apart before. Searching its images excludes rows at a fraction of the cost.
//
//   phi(x) = (U^T z, ||z - U U^T z||),   z = x - mean,   U (D, r) with orthonormal columns
//
// Splitting z_x - z_y into its parts inside and orthogonal to span(U) gives
// ||x - y||^2 = ||U^T (z_x - z_y)||^2 + ||t_x - t_y||^2 with |‖t_x‖ - ‖t_y‖| <= ||t_x - t_y||,
// hence
// ||phi(x) - phi(y)|| <= ||x - y||. With U the leading principal directions of a bank little is
// lost. Any U gives correct searches; a poor one gives slow ones.
//
// The stored matrix R is rounded, and so is the arithmetic. With R = U H the polar decomposition,
// ||H - I|| <= ||R^T R - I|| (Frobenius norm, computed here in float64), so that the computed image
// lies within slack(x) of phi(x) for that U, and
//     ||x - y|| <= d   implies   ||image(x) - image(y)|| <= d + slack(x) + slack(y).
#pragma once

#include <cstdint>
#include <vector>

#include "pyad/aligned.h"

namespace pyad {

struct ScreenKernels;

class Contraction {
  public:
    // basis (D, r) float32 with orthonormal columns; mean (D). Throws std::invalid_argument where
    // they are not orthonormal within 1e-3.
    Contraction(const float* basis, int64_t D, int64_t r, const float* mean,
                const ScreenKernels& kernels);

    int64_t dim() const { return r_ + 1; }

    // n rows (n, D) to images (n, r + 1) and what each may be off (n), rounded up. A row with
    // values beyond the screen's limit gets an infinite slack and no image.
    void apply(const float* rows, int64_t n, float* images, float* slacks) const;

  private:
    int64_t D_, r_;
    const ScreenKernels& kernels_;
    double error_;                 // of U^T z, relative to ||z||
    AlignedVector<float> panels_;  // (r / 32, D, 32)
    std::vector<float> mean_;      // (D)
};

}  // namespace pyad
