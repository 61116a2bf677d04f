// The state of a greedy coreset, and the second program of a pass: what new picks change in it.
#pragma once

#include "block.h"

namespace pyad::cuda {

constexpr float kCoresetPicked = -1.0f;  // a picked row's minimum distance, below all others

struct CoresetState {
    int64_t made;     // picks so far
    int64_t refused;  // 1 where an initial distance is negative or NaN
    int64_t first;    // picks before the last pass
};

struct CoresetMemory {
    CoresetState* state;
    float* nearest;  // (N) squared distance to the nearest pick; -1: picked

    explicit CoresetMemory(void* base)
        : state(static_cast<CoresetState*>(base)),
          nearest(reinterpret_cast<float*>(static_cast<unsigned char*>(base) + 256)) {}
    static size_t bytes(int64_t N) { return 256 + sizeof(float) * static_cast<size_t>(N); }
};

// nearest[n] = min(nearest[n], distance to the picks of the last pass). A half warp takes 8 rows
// against 8 picks at a time, each of its lanes one of the sixteen partial sums of all 64 pairs; the
// tree of the canonical sum then halves the pairs a lane holds at every step.
struct UpdateNearest {
    static constexpr int threads = 256;
    static constexpr int resident = 2;
    static constexpr int kSide = 8;
    static constexpr int kRows = threads / 16 * kSide;
    struct Shared {};
    struct Sums {
        float pair[kSide * kSide];
    };

    const float* points;
    int64_t N, P;
    const CoresetState* state;
    float* nearest;
    const int64_t* picks;

    Grid grid() const { return {(N + kRows - 1) / kRows}; }

    PYAD_DEVICE void operator()(const Block& block, Shared&) const {
        const int64_t first = state->first, made = state->made;
        block.for_each_warp_unfenced([&](const Warp& warp) {
            PerLane<float> least;
            warp.for_each_lane([&](int t) { least[t] = INFINITY; });
            for (int64_t pick = first; pick < made; pick += kSide) {
                PerLane<Sums> sums;
                warp.for_each_lane([&](int t) { add_up(block.x, t, pick, made, sums[t]); });
                fold<8>(warp, sums);
                fold<4>(warp, sums);
                fold<2>(warp, sums);
                fold<1>(warp, sums);
                // Lane l holds pairs 4 l .. 4 l + 3: row l / 2, half of the picks.
                warp.for_each_lane([&](int t) {
                    PYAD_UNROLL
                    for (int i = 0; i < 4; ++i)
                        if (sums[t].pair[i] < least[t]) least[t] = sums[t].pair[i];
                });
            }
            warp.exchange(least, 1, [](float a, float b) { return b < a ? b : a; });
            warp.for_each_lane([&](int t) {
                const int64_t row = first_row(block.x, t) + t % 16 / 2;
                if (t % 2 == 0 && row < N && least[t] < nearest[row]) nearest[row] = least[t];
            });
        });
    }

    PYAD_DEVICE static int64_t first_row(int64_t block, int t) {
        return block * kRows + t / 16 * kSide;
    }

    // Rows and picks behind the last stand in for themselves again: a minimum does not mind.
    PYAD_DEVICE void add_up(int64_t block, int t, int64_t pick, int64_t made, Sums& sums) const {
        const int64_t row = first_row(block, t) < N ? first_row(block, t) : N - 1;
        const float* x = points + row * P;
        int ahead[kSide];  // of x
        const float* y[kSide];
        PYAD_UNROLL
        for (int i = 0; i < kSide; ++i) {
            const int64_t other = pick + i;
            ahead[i] = static_cast<int>((row + i < N ? i : N - 1 - row) * P);
            y[i] = points + picks[other < made ? other : made - 1] * P;
        }
        PYAD_UNROLL
        for (int i = 0; i < kSide * kSide; ++i) sums.pair[i] = 0.0f;
        for (int64_t d = t % 16; d < P; d += 16) {
            float a[kSide];
            PYAD_UNROLL
            for (int i = 0; i < kSide; ++i) a[i] = x[ahead[i] + d];
            PYAD_UNROLL
            for (int j = 0; j < kSide; ++j) {
                const float b = y[j][d];
                PYAD_UNROLL
                for (int i = 0; i < kSide; ++i) {
                    const float difference = sub(a[i], b);
                    float& sum = sums.pair[i * kSide + j];
                    sum = add(sum, mul(difference, difference));
                }
            }
        }
    }

    // One step of the tree: lanes l and l ^ mask add what they hold, each one half of the pairs.
    template <int mask>
    PYAD_DEVICE static void fold(const Warp& warp, PerLane<Sums>& sums) {
        constexpr int half = 4 * mask;
        PYAD_UNROLL
        for (int i = 0; i < half; ++i) {
            PerLane<float> sent;
            warp.for_each_lane([&](int t) {
                // A choice of values: one of indices would put the sums into memory.
                const float *pair = sums[t].pair, left = pair[i], right = pair[i + half];
                sent[t] = t & mask ? left : right;
            });
            warp.exchange(sent, mask, [](float, float other) { return other; });
            warp.for_each_lane([&](int t) {
                float* pair = sums[t].pair;
                const float left = pair[i], right = pair[i + half];
                pair[i] = add(t & mask ? right : left, sent[t]);
            });
        }
    }
};

}  // namespace pyad::cuda
