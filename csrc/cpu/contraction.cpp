#include "pyad/contraction.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

#include "pyad/packed_rows.h"
#include "screen.h"

namespace pyad {
namespace {

constexpr double kUnit = 1.0 / 16777216.0;  // 2^-24, the unit round-off of float32
constexpr int64_t kChunk = 64;              // products summed in one go; short sums round less
constexpr float kInfinity = std::numeric_limits<float>::infinity();

int64_t panels_of(int64_t r) { return (r + kPanel - 1) / kPanel; }

// ||R^T R - I|| in the Frobenius norm.
double departure(const float* basis, int64_t D, int64_t r) {
    std::vector<double> gram(r * r, 0.0);
    for (int64_t d = 0; d < D; ++d)
        for (int64_t i = 0; i < r; ++i) {
            const double x = basis[d * r + i];
            for (int64_t j = 0; j < r; ++j) gram[i * r + j] += x * basis[d * r + j];
        }
    double sum = 0.0;
    for (int64_t i = 0; i < r; ++i)
        for (int64_t j = 0; j < r; ++j) {
            const double off = gram[i * r + j] - (i == j);
            sum += off * off;
        }
    return std::sqrt(sum);
}

}  // namespace

Contraction::Contraction(const float* basis, int64_t D, int64_t r, const float* mean,
                         const ScreenKernels& kernels)
    : D_(D),
      r_(r),
      kernels_(kernels),
      panels_(panels_of(r) * D * kPanel, 0.0f),
      mean_(mean, mean + D) {
    const double skew = departure(basis, D, r);
    if (!(skew < 1e-3))
        throw std::invalid_argument(
            "[nearest_neighbors] expected a basis with orthonormal columns, got one with "
            "||R^T R - I|| = " +
            std::to_string(skew) + ". Orthonormalise it, for example with numpy.linalg.qr.");
    // A sum of n products is within n u of its true value, relative to the sum of their absolute
    // values, which over all r outputs is at most ||R||_F ||z||.
    const double terms = static_cast<double>(std::min(D, kChunk) + (D + kChunk - 1) / kChunk + 2);
    error_ = terms * kUnit * 1.01 * std::sqrt(static_cast<double>(r)) * (1.0 + skew) + skew;
    for (int64_t d = 0; d < D; ++d)
        for (int64_t j = 0; j < r; ++j)
            panels_[((j / kPanel) * D + d) * kPanel + j % kPanel] = basis[d * r + j];
}

void Contraction::apply(const float* rows, int64_t n, float* images, float* slacks) const {
    const int MR = kernels_.MR;
    thread_local AlignedVector<float> group, outputs;  // (D, MR) and (panels, MR, 32)
    group.resize(D_ * MR);
    outputs.resize(panels_of(r_) * MR * kPanel);
    for (int64_t first = 0; first < n; first += MR) {
        const int height = static_cast<int>(std::min<int64_t>(MR, n - first));
        double lengths[kMaxTileHeight] = {};  // ||z||^2
        bool usable[kMaxTileHeight] = {};
        for (int r = 0; r < MR; ++r) {
            const float* row = rows + (first + std::min(r, height - 1)) * D_;
            double sums[4] = {};
            float largest = 0.0f;
            for (int64_t d = 0; d < D_; ++d) {
                const float z = row[d] - mean_[d];
                group[d * MR + r] = z;
                largest = std::max(largest, std::fabs(z));
                sums[d & 3] += static_cast<double>(z) * z;
            }
            lengths[r] = (sums[0] + sums[1]) + (sums[2] + sums[3]);
            usable[r] = largest < kScreenLimit;
        }
        std::fill(outputs.begin(), outputs.end(), 0.0f);
        for (int64_t p = 0; p < panels_of(r_); ++p)
            for (int64_t d = 0; d < D_; d += kChunk)
                kernels_.multiply(group.data() + d * MR, panels_.data() + (p * D_ + d) * kPanel,
                                  std::min(kChunk, D_ - d), outputs.data() + p * MR * kPanel);
        for (int r = 0; r < height; ++r) {
            float* image = images + (first + r) * dim();
            if (!usable[r]) {
                std::fill(image, image + dim(), 0.0f);
                slacks[first + r] = kInfinity;
                continue;
            }
            double inside = 0.0;
            for (int64_t j = 0; j < r_; ++j) {
                const float y = outputs[((j / kPanel) * MR + r) * kPanel + j % kPanel];
                image[j] = y;
                inside += static_cast<double>(y) * y;
            }
            const double length = std::sqrt(lengths[r]);
            // The tiny constants cover products that were flushed to zero.
            const double off = error_ * length + 1e-17;
            const double outside = std::sqrt(std::max(0.0, lengths[r] - inside));
            const double square = off * (2.0 * length + off) + 1e-12 * lengths[r];
            const double off_outside =
                outside > 0.0 ? std::min(std::sqrt(square), square / outside) : std::sqrt(square);
            image[r_] = static_cast<float>(outside);
            // Centring and rounding to float32 move a vector by at most 2 u ||z|| more.
            const double slack = std::sqrt(off * off + off_outside * off_outside) +
                                 2.0 * kUnit * (length + outside) + 1e-17;
            slacks[first + r] = std::nextafter(static_cast<float>(slack * 1.0001), kInfinity);
        }
    }
}

}  // namespace pyad
