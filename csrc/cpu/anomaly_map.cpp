#include "pyad/anomaly_map.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "ieee_arithmetic.h"
#include "pyad/parallel.h"
#include "weighted_sum.h"

namespace pyad {
namespace {

constexpr int64_t kLanes = 16;
constexpr float kLowest = -std::numeric_limits<float>::infinity();

void widen(const float* __restrict scores, const Banded& columns, float* __restrict wide) {
    for (int64_t x = 0; x < columns.rows; ++x) {
        const float* weights = columns.row(x);
        const float* source = scores + columns.start[x];
        float sum = 0.0f;
        for (int64_t t = 0; t < columns.count[x]; ++t) sum += weights[t] * source[t];
        wide[x] = sum;
    }
}

// Sixteen running maxima, so that the compiler needs not reorder comparisons to vectorise them.
float maximum(const float* __restrict row, int64_t n) {
    float best[kLanes];
    for (int64_t l = 0; l < kLanes; ++l) best[l] = kLowest;
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes)
        for (int64_t l = 0; l < kLanes; ++l) best[l] = row[i + l] > best[l] ? row[i + l] : best[l];
    for (; i < n; ++i) best[0] = std::max(best[0], row[i]);
    return *std::max_element(best, best + kLanes);
}

// Products of one piece of work, about 50 us: waking another thread costs 40.
constexpr int64_t kPiece = 1 << 19;

}  // namespace

void anomaly_map(const float* scores, int64_t N, const Banded& rows, const Banded& columns,
                 float* wide, float* maps, float* maxima) {
    const IeeeArithmetic arithmetic;  // maxima may be subnormal
    const int64_t h = rows.columns, w = columns.columns, H = rows.rows, W = columns.rows;
    parallel_for(N * h, 1 + kPiece / (W * columns.taps), [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) widen(scores + i * w, columns, wide + i * W);
    });
    const LinearKernels& kernels = linear_kernels();
    std::vector<int64_t> offsets(static_cast<size_t>(rows.taps));
    for (int64_t t = 0; t < rows.taps; ++t) offsets[t] = t * W;
    static thread_local std::vector<float> kept;  // a camera loop allocates nothing per frame
    kept.resize(static_cast<size_t>(N * H));
    float* row_maxima = kept.data();  // a thread of the pool would see its own `kept`
    parallel_for(N * H, 1 + kPiece / (W * rows.taps), [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
            const int64_t n = i / H, y = i % H;
            const float* source = wide + (n * h + rows.start[y]) * W;
            kernels.weighted_sum(source, offsets.data(), rows.row(y), rows.count[y], W, false,
                                 maps + i * W);
            row_maxima[i] = maximum(maps + i * W, W);
        }
    });
    for (int64_t n = 0; n < N; ++n)
        maxima[n] = *std::max_element(row_maxima + n * H, row_maxima + (n + 1) * H);
}

}  // namespace pyad
