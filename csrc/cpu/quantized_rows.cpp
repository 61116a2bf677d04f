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

// std::nextafter upwards, without the call; for numbers that are not NaN.
float next(float x) {
    if (x == kInfinity) return x;
    int32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    bits = x == 0.0f ? 1 : bits + (bits < 0 ? -1 : 1);
    std::memcpy(&x, &bits, sizeof x);
    return x;
}

float up(double x) { return next(static_cast<float>(x)); }
float down(double x) { return -next(-static_cast<float>(x)); }

// Row `place` of a group from its words; the layouts of quantized_rows.h. int8_t may alias
// anything: all numbers come as arguments, so that none is read again in the loop.
void place_row(const int8_t* row, int64_t words, int64_t height, int64_t place, bool tiled,
               int8_t* group) {
    if (tiled) {
        for (int64_t word = 0; word < words; word += 16)
            std::memcpy(group + (word * height + place * 16) * 4, row + word * 4, 64);
    } else {
        for (int64_t word = 0; word < words; ++word)
            std::memcpy(group + (word * height + place) * 4, row + word * 4, 4);
    }
}

}  // namespace

double QuantizedKernels::norm_slack(int64_t D) const {
    // 2 |error of x.y| <= (D + 8) u (||x||^2 + ||y||^2): each norm carries its own part.
    return 16.0 * kUnit + (static_cast<double>(D) + 8.0) * error_per_d;
}

QuantizedRows::QuantizedRows(const float* rows, int64_t M, int64_t D, const float* mean,
                             const QuantizedKernels& kernels)
    : M_(M),
      words_(kernels.words(D)),
      values_(panels() * words_ * kPanel * 4, static_cast<uint8_t>(kernels.offset)),
      scales_(panels() * kPanel, 0.0f),
      norms_(panels() * kPanel, kInfinity),
      residuals_(panels() * kPanel, 0.0f) {
    const double kept = 1.0 - kernels.norm_slack(D);
    std::vector<int8_t> values(words_ * 4 + 64, 0);
    for (int64_t m = 0; m < M; ++m) {
        const Quantized row = kernels.quantize(rows + m * D, mean, D, values.data());
        huge_ |= !(row.largest < kQuantizedLimit);
        if (huge_) return;  // never screened
        uint8_t* out = values_.data() + (m / kPanel) * words_ * kPanel * 4 + (m % kPanel) * 4;
        for (int64_t word = 0; word < words_; ++word)
            for (int byte = 0; byte < 4; ++byte)
                out[word * kPanel * 4 + byte] =
                    static_cast<uint8_t>(values[word * 4 + byte] + kernels.offset);
        const double residual = row.residual * kSlack;
        scales_[m] = row.scale;
        residuals_[m] = up(residual);
        largest_residual_ = std::max(largest_residual_, residuals_[m]);
        norms_[m] = down(row.norm * kept - static_cast<double>(residuals_[m]) * residuals_[m]);
    }
}

void QuantizedQueries::pack(const float* queries, int64_t n, int64_t D, const float* mean,
                            const QuantizedKernels& kernels, bool lanes) {
    n_ = n;
    D_ = D;
    MR_ = kernels.MR;
    words_ = kernels.words(D);
    huge_ = false;
    const double kept = 1.0 - kernels.norm_slack(D);
    const int64_t padded = groups() * MR_;
    values_.resize(padded * words_ * 4);
    corrections_.assign(padded, 0);
    scales_.assign(padded, 0.0f);
    reaches_.assign(padded, 0.0f);
    thresholds_.assign(padded, -kInfinity);  // no row passes for the filling of the last group
    norms_.resize(n);
    residuals_.resize(n);
    row_.assign(words_ * 4 + 64, 0);
    for (int64_t i = 0; i < padded; ++i) {
        int8_t* group = values_.data() + (i / MR_) * words_ * MR_ * 4;
        Quantized query;
        if (i < n) {
            query = kernels.quantize(queries + i * D, mean, D, row_.data());
            huge_ |= !(query.largest < kQuantizedLimit);
            if (huge_) return;
        } else if (i == n) {
            std::fill(row_.begin(), row_.end(), 0);
        }
        place_row(row_.data(), words_, MR_, i % MR_, kernels.tiled && !lanes, group);
        if (i >= n) continue;
        corrections_[i] = kernels.offset * query.sum;
        scales_[i] = 2.0f * query.scale;
        norms_[i] = query.norm * kept;
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
