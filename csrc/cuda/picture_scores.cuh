// picture_scores as a block program: one block a picture.
#pragma once

#include <stdexcept>

#include "block.h"
#include "pyad/cuda/picture_scores.h"
#include "search_rank.cuh"

namespace pyad::cuda {

struct PictureScoresProgram {
    static constexpr int threads = 256;
    static constexpr int warps = threads / kWarp;
    struct Shared {
        uint64_t keys[threads];
    };
    PictureScores call;

    explicit PictureScoresProgram(const PictureScores& given) : call(given) {
        if (call.P >= 0xffffffff)
            throw std::invalid_argument(
                "[picture_scores] expected fewer than 2^32 - 1 patches of a picture. Use a smaller "
                "input size.");
    }
    Grid grid() const { return {call.N}; }

    PYAD_DEVICE void operator()(const Block& block, Shared& shared) const {
        const int64_t n = block.x, P = call.P;
        float* squared = call.squared + n * P;
        int64_t* rows = call.rows + n * P;
        const uint8_t* valid = call.valid == nullptr ? nullptr : call.valid + n * P;

        // The largest key is the first patch with the largest distance: bits of floats that are not
        // negative ascend with their values, NaN last; among equals the smaller index wins.
        PerThread<uint64_t, threads> best;
        block.for_each_thread([&](int t) {
            best[t] = 0;
            for (int64_t p = t; p < P; p += threads) {
                const bool counts = valid == nullptr || valid[p] != 0;
                const float value = counts ? squared[p] : 0.0f;
                call.distances[n * P + p] = root(value);
                if (!counts) {
                    squared[p] = 0.0f;
                    rows[p] = -1;
                    continue;
                }
                const uint64_t bits = bits_of(value) & 0x7fffffffu;
                const uint64_t key = bits << 32 | (0xffffffffu - static_cast<uint32_t>(p));
                if (key > best[t]) best[t] = key;
            }
        });
        block.reduce(best, shared.keys, [](uint64_t a, uint64_t b) { return a > b ? a : b; });
        const uint64_t key = shared.keys[0];
        const int64_t winner =
            key == 0 ? -1 : int64_t{0xffffffffu - static_cast<uint32_t>(key & 0xffffffffu)};
        block.for_each_thread([&](int t) {
            if (t == 0) call.winners[n] = winner;
        });
        const int64_t k = call.k, row = winner < 0 ? -1 : rows[winner];
        if (row < 0) {
            block.for_each_thread([&](int t) {
                for (int64_t i = t; i < k; i += threads) call.around[n * k + i] = NAN;
            });
            return;
        }
        const float* query = call.patches + (n * P + winner) * call.D;
        const int64_t* neighbors = call.neighborhoods + row * k;
        block.for_each_warp([&](const Warp& warp) {
            for (int64_t i = 2 * warp.index; i < k; i += 2 * warps) {
                PerLane<float> sum;
                canonical_distances(warp, sum, call.D,
                                    [&](int t, const float*& a, const float*& b) {
                                        const int64_t mine = i + t / 16 % 2;
                                        if (mine >= k) return;
                                        a = query;
                                        b = call.bank + neighbors[mine] * call.D;
                                    });
                warp.for_each_lane([&](int t) {
                    const int64_t mine = i + t / 16 % 2;
                    if (t % 16 == 0 && mine < k) call.around[n * k + mine] = sum[t];
                });
            }
        });
    }
};

}  // namespace pyad::cuda
