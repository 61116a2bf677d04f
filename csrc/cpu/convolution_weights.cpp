#include "convolution_weights.h"

#include "convolution_kernels.h"
#include "pyad/parallel.h"

namespace pyad {
namespace {

int64_t padded(int64_t n) { return (n + kBlock - 1) / kBlock * kBlock; }

// The last panel may hold half as many channels; rows of `depth` values per channel come before it.
struct Panels {
    int64_t K, panel, depth;

    int64_t width(int64_t k) const {
        const int64_t first = k / panel * panel;
        return padded(K) - first < panel ? padded(K) - first : panel;
    }
    int64_t at(int64_t k, int64_t row) const {
        const int64_t first = k / panel * panel;
        return first * depth + row * width(k) + k - first;
    }
};

constexpr double kG[6][3] = {{1.0 / 4, 0, 0},
                             {-1.0 / 6, -1.0 / 6, -1.0 / 6},
                             {-1.0 / 6, 1.0 / 6, -1.0 / 6},
                             {1.0 / 24, 1.0 / 12, 1.0 / 6},
                             {1.0 / 24, -1.0 / 12, 1.0 / 6},
                             {0, 0, 1}};

}  // namespace

AlignedVector<float> pack_weights(const float* weights, int64_t K, int64_t C, int64_t P, int64_t Q,
                                  bool planes, int64_t panel) {
    const int64_t window = P * Q, step = planes ? 1 : kBlock;
    const Panels panels{K, panel, (planes ? C : padded(C)) * window};
    AlignedVector<float> out(padded(K) * panels.depth, 0.0f);
    for (int64_t k = 0; k < K; ++k)
        for (int64_t c = 0; c < C; ++c)
            for (int64_t i = 0; i < window; ++i)
                out[panels.at(k, (c / step * window + i) * step + c % step)] =
                    weights[(k * C + c) * window + i];
    return out;
}

AlignedVector<float> transform_weights(const float* weights, int64_t K, int64_t C, int64_t panel) {
    const Panels panels{K, panel, kPositions * padded(C)};
    AlignedVector<float> out(padded(K) * panels.depth, 0.0f);
    parallel_for(K, 8, [&](int64_t begin, int64_t end) {
        for (int64_t k = begin; k < end; ++k)
            for (int64_t c = 0; c < C; ++c) {
                const float* g = weights + (k * C + c) * 9;
                double columns[6][3];
                for (int i = 0; i < 6; ++i)
                    for (int q = 0; q < 3; ++q)
                        columns[i][q] = kG[i][0] * static_cast<double>(g[q]) +
                                        kG[i][1] * static_cast<double>(g[3 + q]) +
                                        kG[i][2] * static_cast<double>(g[6 + q]);
                for (int i = 0; i < 6; ++i)
                    for (int j = 0; j < 6; ++j)
                        out[panels.at(k, (i * 6 + j) * padded(C) + c)] =
                            static_cast<float>(columns[i][0] * kG[j][0] + columns[i][1] * kG[j][1] +
                                               columns[i][2] * kG[j][2]);
            }
    });
    return out;
}

}  // namespace pyad
