// The inner loop of the linear kernels: a weighted sum of equally long runs of floats.
//
// Every element is summed in the order of the weights with separate multiplications and additions,
// so all instruction sets give the same bits. The partial sums stay in registers.
#pragma once

#include <cstdint>

namespace {

constexpr int64_t kRun = 16;

// out[i] (= or +=) sum over t < count of weights[t] * source[offset(t) + i], for i < n.
template <bool accumulate, typename Offset>
inline void weighted_sum(const float* __restrict source, Offset offset, const float* weights,
                         int64_t count, int64_t n, float* __restrict out) {
    int64_t i = 0;
    for (; i + kRun <= n; i += kRun) {
        float sum[kRun];
        for (int64_t l = 0; l < kRun; ++l) sum[l] = accumulate ? out[i + l] : 0.0f;
        for (int64_t t = 0; t < count; ++t) {
            const float* run = source + offset(t) + i;
            const float w = weights[t];
            for (int64_t l = 0; l < kRun; ++l) sum[l] += w * run[l];
        }
        for (int64_t l = 0; l < kRun; ++l) out[i + l] = sum[l];
    }
    for (; i < n; ++i) {
        float sum = accumulate ? out[i] : 0.0f;
        for (int64_t t = 0; t < count; ++t) sum += weights[t] * source[offset(t) + i];
        out[i] = sum;
    }
}

}  // namespace
