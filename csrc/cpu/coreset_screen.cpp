#include "coreset_screen.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <mutex>

#include "pyad/level.h"
#include "pyad/parallel.h"

namespace pyad {
namespace {

constexpr double kUnit = 1.0 / 16777216.0;  // 2^-24, the unit round-off of float32
constexpr double kSlack = 1.0 + 1e-12;      // covers the rounding of the test itself, in float64
constexpr int64_t kBlock = 2048;
constexpr int64_t kLanes = 16;  // independent sums, which compilers turn into vectors
constexpr float kLeast = 1e-15f, kMost = 1e12f;  // where squares neither vanish nor overflow

}  // namespace

const CoresetKernels* coreset_kernels() {
#ifdef PYAD_X86_LEVELS
    switch (active_level()) {
#ifdef PYAD_AMX_LEVEL
        case Level::avx512amx:
            return &coreset_avx512amx;
#endif
        case Level::avx512vnni:
            return &coreset_avx512vnni;
#ifdef PYAD_AVX_VNNI_LEVEL
        case Level::avx2vnni:
            return &coreset_avx2vnni;
#endif
        default:
            break;
    }
#endif
    return nullptr;
}

float coreset_largest(const float* points, int64_t n, int64_t P, const float* mean) {
    float most[kLanes] = {};
    for (int64_t i = 0; i < n; ++i, points += P) {
        const auto take = [&](int64_t d, int64_t l) {
            const float x = std::fabs(points[d] - mean[d]);
            most[l] = x > most[l] ? x : most[l];
        };
        int64_t d = 0;
        for (; d + kLanes <= P; d += kLanes)
            for (int64_t l = 0; l < kLanes; ++l) take(d + l, l);
        for (; d < P; ++d) take(d, 0);
    }
    return *std::max_element(most, most + kLanes);
}

float coreset_quantize(const float* point, int64_t P, const float* mean, float scale, int8_t* out,
                       int32_t* norm, int32_t* sum) {
    const float inverse = 1.0f / scale;
    constexpr float kRound = 12582912.0f;  // 1.5 x 2^23: adding it rounds to a whole number
    float residuals[kLanes] = {}, lengths[kLanes] = {};
    int32_t norms[kLanes] = {}, sums[kLanes] = {};
    const auto take = [&](int64_t d, int64_t l) {
        const float x = point[d] - mean[d];
        // Whatever this rounds to, the residual is what it then is, so that the bound holds.
        const float rounded = (x * inverse + kRound) - kRound;
        const float limited = std::min(std::max(rounded, -127.0f), 127.0f);
        const int32_t v = static_cast<int32_t>(limited);
        out[d] = static_cast<int8_t>(v);
        norms[l] += v * v;
        sums[l] += v;
        const float r = x - scale * limited;
        residuals[l] += r * r;
        lengths[l] += x * x;
    };
    int64_t d = 0;
    for (; d + kLanes <= P; d += kLanes)
        for (int64_t l = 0; l < kLanes; ++l) take(d + l, l);
    for (; d < P; ++d) take(d, 0);
    float residual = 0.0f, length = 0.0f;
    *norm = *sum = 0;
    for (int64_t l = 0; l < kLanes; ++l) {
        residual += residuals[l];
        length += lengths[l];
        *norm += norms[l];
        *sum += sums[l];
    }
    // Up to 80 rounded sums of a lane and 16 of lanes: each root is within 1e-5 of its value.
    // Centring rounds each component by at most one unit, r by two more; 1e-17 covers squares that
    // vanished.
    return (std::sqrt(residual) + 2.5e-7f * std::sqrt(length)) * (1.0f + 2e-5f) + 1e-17f;
}

CoresetScreen::CoresetScreen(const CoresetKernels& kernels, int64_t N, int64_t P)
    : kernels_(kernels),
      N_(N),
      depth_((P + 63) / 64 * 64),
      // The canonical sum of P squares is within (P / 16 + 8) u of the true one, its root within
      // half of that.
      error_((static_cast<double>(P) / 16.0 + 8.0) * kUnit),
      values_((N + kMaxCoresetHeight) * depth_, 0),
      norms_(N),
      sums_(N) {}

std::unique_ptr<CoresetScreen> CoresetScreen::make(const CoresetKernels& kernels,
                                                   const float* points, int64_t N, int64_t P,
                                                   const float* mean) {
    if (P > kCoresetDim) return nullptr;
    std::mutex mutex;
    float largest = 0.0f;
    parallel_for(N, kBlock, [&](int64_t begin, int64_t end) {
        const float found = kernels.largest(points + begin * P, end - begin, P, mean);
        const std::lock_guard<std::mutex> lock(mutex);
        largest = std::max(largest, found);
    });
    if (!(largest > kLeast && largest < kMost)) return nullptr;
    std::unique_ptr<CoresetScreen> made(new CoresetScreen(kernels, N, P));
    const float scale = largest / 127.0f;
    float residual = 0.0f;
    parallel_for(N, kBlock, [&](int64_t begin, int64_t end) {
        float found = 0.0f;
        for (int64_t n = begin; n < end; ++n)
            found = std::max(found, kernels.quantize(points + n * P, P, mean, scale,
                                                     made->values_.data() + n * made->depth_,
                                                     &made->norms_[n], &made->sums_[n]));
        const std::lock_guard<std::mutex> lock(mutex);
        residual = std::max(residual, found);
    });
    made->inverse_ = 1.0 / static_cast<double>(scale);
    made->reach_ = 2.0 * static_cast<double>(residual) + 1e-18;
    return made;
}

int32_t CoresetScreen::half_excess(int64_t n, float nearest) const {
    if (!(nearest > 0.0f)) return kNoHit;  // picked, or as near as can be
    const double d = std::sqrt(static_cast<double>(nearest)) * (1.0 + error_) + reach_;
    const double t = d * inverse_ * kSlack;
    const double half = (static_cast<double>(norms_[n]) - t * t * kSlack) * 0.5;
    return static_cast<int32_t>(std::max(half, -static_cast<double>(kNoHit))) - 1;  // at most floor
}

void CoresetScreen::pack(const std::vector<int64_t>& rows, int64_t first,
                         CoresetPanels* out) const {
    const int64_t n = static_cast<int64_t>(rows.size()) - first;
    out->count = (n + kCoresetPanel - 1) / kCoresetPanel;
    out->size = depth_ * kCoresetPanel;
    out->values.assign(out->count * out->size, 128);
    out->offsets.assign(out->count * kCoresetPanel, -2 * kNoHit);  // fillings are never of interest
    for (int64_t i = 0; i < n; ++i) {
        const int64_t row = rows[first + i], lane = i % kCoresetPanel;
        uint8_t* panel = out->values.data() + i / kCoresetPanel * out->size;
        const int8_t* values = point(row);
        for (int64_t d = 0; d < depth_; d += 4) {
            uint32_t four;
            std::memcpy(&four, values + d, 4);
            four ^= 0x80808080u;  // + 128
            std::memcpy(panel + d * kCoresetPanel + lane * 4, &four, 4);
        }
        out->offsets[i] = -(norms_[row] >> 1);
    }
}

}  // namespace pyad
