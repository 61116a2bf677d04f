#include "pyad/quantized_rows.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace pyad {
namespace {

constexpr double kUnit = 1.0 / 16777216.0;     // 2^-24, the unit round-off of float32
constexpr double kSlack = 1.0 + 16.0 * kUnit;  // covers the rounding of the test
constexpr double kNoBar = 1e17;                // farther than any two vectors within the limit
constexpr float kInfinity = std::numeric_limits<float>::infinity();

int64_t padded_dim(int64_t D) { return (D + 15) / 16 * 16; }
float up(double x) { return std::nextafter(static_cast<float>(x), kInfinity); }
float down(double x) { return std::nextafter(static_cast<float>(x), -kInfinity); }

}  // namespace

QuantizedRows::QuantizedRows(const float* rows, int64_t M, int64_t D, const float* mean,
                             Quantize quantize)
    : M_(M),
      quads_((D + 3) / 4),
      values_(panels() * quads_ * kPanel * 4, 128),
      scales_(panels() * kPanel, 0.0f),
      norms_(panels() * kPanel, kInfinity),
      residuals_(panels() * kPanel, 0.0f) {
    std::vector<int8_t> values(padded_dim(D), 0);
    for (int64_t m = 0; m < M; ++m) {
        const Quantized row = quantize(rows + m * D, mean, D, values.data());
        huge_ |= !(row.largest < kQuantizedLimit);
        if (huge_) return;  // never screened
        uint8_t* out = values_.data() + (m / kPanel) * quads_ * kPanel * 4 + (m % kPanel) * 4;
        for (int64_t d = 0; d < D; ++d)
            out[(d / 4) * kPanel * 4 + d % 4] = static_cast<uint8_t>(values[d] + 128);
        const double residual = row.residual * kSlack;
        scales_[m] = row.scale;
        residuals_[m] = up(residual);
        norms_[m] =
            down(row.norm * (2.0 - kSlack) - static_cast<double>(residuals_[m]) * residuals_[m]);
    }
}

void QuantizedQueries::pack(const float* queries, int64_t n, int64_t D, const float* mean, int MR,
                            Quantize quantize) {
    n_ = n;
    D_ = D;
    MR_ = MR;
    quads_ = (D + 3) / 4;
    huge_ = false;
    const int64_t padded = groups() * MR;
    values_.assign(padded * quads_ * 4, 0);
    corrections_.assign(padded, 0);
    scales_.assign(padded, 0.0f);
    reaches_.assign(padded, 0.0f);
    thresholds_.assign(padded, -kInfinity);  // no row passes for the filling of the last group
    norms_.resize(n);
    residuals_.resize(n);
    row_.assign(padded_dim(D), 0);
    for (int64_t i = 0; i < n; ++i) {
        const Quantized query = quantize(queries + i * D, mean, D, row_.data());
        huge_ |= !(query.largest < kQuantizedLimit);
        if (huge_) return;
        int8_t* out = values_.data() + (i / MR) * quads_ * MR * 4 + (i % MR) * 4;
        for (int64_t quad = 0; quad < quads_; ++quad)
            std::memcpy(out + quad * MR * 4, row_.data() + quad * 4, 4);
        corrections_[i] = 128 * query.sum;
        scales_[i] = 2.0f * query.scale;
        norms_[i] = query.norm * (2.0 - kSlack);
        residuals_[i] = query.residual;
        set_best(i, kInfinity);
    }
}

void QuantizedQueries::set_best(int64_t i, float best) {
    // The canonical sum of D squares is within (D / 16 + 8) u of the true one, its root within half
    // of it.
    const double error = (static_cast<double>(D_) / 32.0 + 8.0) * kUnit;
    const double distance =
        std::isinf(best) ? kNoBar : std::sqrt(static_cast<double>(best)) * (1.0 + error);
    const double reach = (distance + 1e-18 + residuals_[i]) * kSlack;
    reaches_[i] = up(2.0 * reach);
    thresholds_[i] = up(reach * reach * kSlack - norms_[i]);
}

}  // namespace pyad
