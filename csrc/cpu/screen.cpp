#include "screen.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "pyad/level.h"

namespace pyad {
namespace {

constexpr double kUnit = 1.0 / 16777216.0;  // 2^-24, the unit round-off of float32
constexpr float kInfinity = std::numeric_limits<float>::infinity();

float round_down(double x) {
    const float f = static_cast<float>(x);
    return f > x ? std::nextafter(f, -kInfinity) : f;
}

float round_up(double x) {
    const float f = static_cast<float>(x);
    return f < x ? std::nextafter(f, kInfinity) : f;
}

}  // namespace

const ScreenKernels& screen_kernels() {
#ifdef PYAD_X86_LEVELS
    switch (active_level()) {
#ifdef PYAD_AMX_LEVEL
        case Level::avx512amx:
            return screen_avx512amx;
#endif
        case Level::avx512vnni:
            return screen_avx512vnni;
        case Level::avx512:
            return screen_avx512;
#ifdef PYAD_AVX_VNNI_LEVEL
        case Level::avx2vnni:
            return screen_avx2vnni;
#endif
        case Level::avx2:
            return screen_avx2;
        default:
            break;
    }
#endif
#ifdef PYAD_ARM_LEVELS
    if (active_level() == Level::neondot) return screen_neondot;
    if (active_level() == Level::neon) return screen_neon;
#endif
    return screen_portable;
}

std::vector<float> mean_of_rows(const float* rows, int64_t M, int64_t D) {
    std::vector<double> sums(D, 0.0);
    for (int64_t m = 0; m < M; ++m)
        for (int64_t d = 0; d < D; ++d) sums[d] += rows[m * D + d];
    std::vector<float> mean(D);
    for (int64_t d = 0; d < D; ++d) mean[d] = static_cast<float>(sums[d] / static_cast<double>(M));
    return mean;
}

PackedRows::PackedRows(const float* rows, int64_t M, int64_t D, const float* mean)
    : M_(M),
      D_(D),
      error_factor_((1.125 * static_cast<double>(D) + 32.0) * kUnit * 1.01),
      // Products below the smallest normal number may be flushed to zero.
      error_floor_((static_cast<double>(D) + 16.0) * 4.0 * std::numeric_limits<float>::min()),
      packed_(panels() * D * kPanel, 0.0f),
      norms_(panels() * kPanel, kInfinity),
      mean_(mean ? std::vector<float>(mean, mean + D) : mean_of_rows(rows, M, D)) {
    huge_ = D > kScreenDim;  // the bound's second-order terms are small only up to there
    for (int64_t m = 0; m < M; ++m) {
        float* out = packed_.data() + (m / kPanel) * D * kPanel + m % kPanel;
        double norm = 0.0;
        for (int64_t d = 0; d < D; ++d) {
            const float value = rows[m * D + d] - mean_[d];
            huge_ |= !(std::fabs(value) < kScreenLimit);
            out[d * kPanel] = value;
            norm += static_cast<double>(value) * value;
        }
        norms_[m] = round_down((1.0 - error_factor_) * norm);
    }
}

void PackedQueries::pack(const float* queries, int64_t n, const PackedRows& rows, int MR,
                         const float* best) {
    n_ = n;
    D_ = rows.dim();
    MR_ = MR;
    huge_ = false;
    error_floor_ = rows.error_floor();
    packed_.resize(groups() * D_ * MR);
    thresholds_.assign(groups() * MR,
                       -kInfinity);  // no row passes for the filling of the last group
    reduced_norms_.resize(n);
    const float* mean = rows.mean();
    for (int64_t g = 0; g < groups(); ++g) {
        float* out = packed_.data() + g * D_ * MR;
        for (int r = 0; r < MR; ++r) {
            const int64_t i = g * MR + r;
            if (i >= n) {
                for (int64_t d = 0; d < D_; ++d) out[d * MR + r] = 0.0f;
                continue;
            }
            const float* query = queries + i * D_;
            double norms[4] = {0, 0, 0, 0};
            float largest = 0.0f;
            for (int64_t d = 0; d < D_; ++d) {
                const float value = query[d] - mean[d];
                largest = std::max(largest, std::fabs(value));
                out[d * MR + r] = value;
                norms[d & 3] += static_cast<double>(value) * value;
            }
            huge_ |= !(largest < kScreenLimit);
            reduced_norms_[i] =
                (1.0 - rows.error_factor()) * ((norms[0] + norms[1]) + (norms[2] + norms[3]));
            set_best(i, best[i]);
        }
    }
}

void PackedQueries::set_best(int64_t i, float best) {
    thresholds_[i] = round_up(static_cast<double>(best) - reduced_norms_[i] + error_floor_);
}

}  // namespace pyad
