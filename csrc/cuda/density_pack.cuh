// The first and the last launch of density_weights: rows to fixed point, sums to weights.
#pragma once

#include "block.h"
#include "pyad/density_arithmetic.h"

namespace pyad::cuda {

constexpr int kDensityStep = 64;  // bytes of every row that travel together

// Rows (rows, D) to (padded, 2, pitch) bytes: the high, then the low parts of the components, v =
// 256 high + low. poison (rows): 0, or NaN for rows that are not finite.
struct DensityPack {
    static constexpr int threads = 128;
    static constexpr int team = 8;  // threads of one row, as the lanes of the squared length
    struct Shared {};

    const float* rows;
    int64_t n, D, pitch;
    signed char* packed;
    float* poison;

    static constexpr int64_t rows_of_block = threads / team;

    PYAD_DEVICE void operator()(const Block& block, Shared&) const {
        block.for_each_warp([&](const Warp& warp) {
            PerLane<double> length;
            warp.for_each_lane([&](int t) {
                const int64_t j = block.x * rows_of_block + t / team;
                length[t] = 0.0;
                if (j >= n) return;
                for (int64_t d = t % team; d < D; d += team) {
                    const double x = rows[j * D + d];
                    length[t] = multiply_then_add(x, x, length[t]);
                }
            });
            const auto sum = [](double a, double b) { return add(a, b); };
            warp.exchange(length, 4, sum);
            warp.exchange(length, 2, sum);
            warp.exchange(length, 1, sum);
            warp.for_each_lane([&](int t) {
                const int64_t j = block.x * rows_of_block + t / team;
                float lift, inverse;
                unit_factors(root(length[t]), &lift, &inverse);
                const double zero = sub(length[t], length[t]);  // or NaN
                write(j, t % team, zero == 0.0, lift, inverse);
                if (j < n && t % team == 0) poison[j] = static_cast<float>(zero);
            });
        });
    }

    // Four neighbouring components at a time; zeros for a row that is not finite.
    PYAD_DEVICE void write(int64_t j, int lane, bool finite, float lift, float inverse) const {
        signed char* out = packed + j * 2 * pitch;
        for (int64_t d = 4 * lane; d < pitch; d += 4 * team) {
            uint32_t high = 0, low = 0;
            PYAD_UNROLL
            for (int i = 0; i < 4; ++i) {
                const int32_t v = finite && j < n && d + i < D
                                      ? quantized(rows[j * D + d + i], lift, inverse)
                                      : 0;
                high |= static_cast<uint32_t>((v + 128) >> 8 & 255) << 8 * i;
                low |= static_cast<uint32_t>(v & 255) << 8 * i;
            }
            *reinterpret_cast<uint32_t*>(out + d) = high;
            *reinterpret_cast<uint32_t*>(out + pitch + d) = low;
        }
    }
};

// The weights of the features, from their segments' sums.
struct DensityFinish {
    static constexpr int threads = 128;
    struct Shared {
        float poison[threads];
    };

    const int32_t* references;  // (features, segments), as the sums
    const float* sums;
    int64_t segments;
    const float* feature_poison;  // (q)
    const float* queue_poison;    // (Q)
    int64_t q, Q;
    float scale;
    double beta;
    float* log_weights;

    PYAD_DEVICE void operator()(const Block& block, Shared& shared) const {
        PerThread<float, threads> poison;
        block.for_each_thread([&](int t) {
            poison[t] = 0.0f;
            for (int64_t j = t; j < Q; j += threads) poison[t] = add(poison[t], queue_poison[j]);
        });
        block.reduce(poison, shared.poison, [](float a, float b) { return add(a, b); });
        block.for_each_thread([&](int t) {
            const int64_t i = block.x * threads + t;
            if (i >= q) return;
            const float weight =
                log_weight(references + i * segments, sums + i * segments, segments, scale, beta);
            log_weights[i] = add(weight, add(feature_poison[i], shared.poison[0]));
        });
    }
};

}  // namespace pyad::cuda
