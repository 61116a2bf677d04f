#include "convolution_weights.h"

#include <cstring>
#include <utility>

#include "pyad/parallel.h"

namespace pyad {
namespace {

int64_t padded(int64_t n) { return (n + kBlock - 1) / kBlock * kBlock; }

// To nearest, ties to even; NaN stays one.
uint16_t to_bf16(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, sizeof(bits));
    if (x != x) return static_cast<uint16_t>(bits >> 16 | 0x40);
    return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// The last panel may hold half as many channels; `depth` factors per channel come before it.
class Panels {
  public:
    Panels(int64_t K, int64_t depth, const ConvolutionKernels& kernels)
        : K_(K),
          depth_(depth),
          panel_(kernels.panel_blocks * kBlock),
          packed_(kernels.packed),
          values_(padded(K) * depth / packed_, 0.0f) {}

    // Factor `row` of channel k.
    void put(int64_t k, int64_t row, double value) {
        const int64_t first = k / panel_ * panel_, left = padded(K_) - first;
        const int64_t width = left < panel_ ? left : panel_;
        float* place =
            values_.data() + (first * depth_ / packed_ + row / packed_ * width + k - first);
        if (packed_ == 1) {
            *place = static_cast<float>(value);
            return;
        }
        const uint16_t half = to_bf16(static_cast<float>(value));
        std::memcpy(reinterpret_cast<char*>(place) + row % 2 * sizeof(half), &half, sizeof(half));
    }

    AlignedVector<float> take() { return std::move(values_); }

  private:
    int64_t K_, depth_, panel_, packed_;
    AlignedVector<float> values_;
};

// Rows of G; of F(4, 3) and of F(2, 3).
constexpr double kG4[6][3] = {{1.0 / 4, 0, 0},
                              {-1.0 / 6, -1.0 / 6, -1.0 / 6},
                              {-1.0 / 6, 1.0 / 6, -1.0 / 6},
                              {1.0 / 24, 1.0 / 12, 1.0 / 6},
                              {1.0 / 24, -1.0 / 12, 1.0 / 6},
                              {0, 0, 1}};
constexpr double kG2[4][3] = {{1, 0, 0}, {0.5, 0.5, 0.5}, {0.5, -0.5, 0.5}, {0, 0, 1}};

}  // namespace

AlignedVector<float> pack_weights(const float* weights, int64_t K, int64_t C, int64_t P, int64_t Q,
                                  bool planes, const ConvolutionKernels& kernels) {
    const int64_t packed = kernels.packed, step = planes ? 1 : kBlock;
    const int64_t across = planes ? (Q + packed - 1) / packed * packed : Q;
    Panels panels(K, (planes ? C : padded(C)) * P * across, kernels);
    for (int64_t k = 0; k < K; ++k)
        for (int64_t c = 0; c < C; ++c)
            for (int64_t p = 0; p < P; ++p)
                for (int64_t q = 0; q < Q; ++q)
                    panels.put(k, ((c / step * P + p) * across + q) * step + c % step,
                               static_cast<double>(weights[((k * C + c) * P + p) * Q + q]));
    return panels.take();
}

AlignedVector<float> transform_weights(const float* weights, int64_t K, int64_t C,
                                       const ConvolutionKernels& kernels) {
    const int64_t n = kernels.tile + 2;
    const double (*G)[3] = kernels.tile == 4 ? kG4 : kG2;
    Panels panels(K, kernels.positions() * padded(C), kernels);
    parallel_for(K, 8, [&](int64_t begin, int64_t end) {
        for (int64_t k = begin; k < end; ++k)
            for (int64_t c = 0; c < C; ++c) {
                const float* g = weights + (k * C + c) * 9;
                double columns[6][3];
                for (int i = 0; i < n; ++i)
                    for (int q = 0; q < 3; ++q)
                        columns[i][q] = G[i][0] * static_cast<double>(g[q]) +
                                        G[i][1] * static_cast<double>(g[3 + q]) +
                                        G[i][2] * static_cast<double>(g[6 + q]);
                for (int i = 0; i < n; ++i)
                    for (int j = 0; j < n; ++j)
                        panels.put(k, (i * n + j) * padded(C) + c,
                                   columns[i][0] * G[j][0] + columns[i][1] * G[j][1] +
                                       columns[i][2] * G[j][2]);
            }
    });
    return panels.take();
}

}  // namespace pyad
