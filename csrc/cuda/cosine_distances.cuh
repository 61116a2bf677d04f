// The cosine distances of cosine_distance_map as a block program.
#pragma once

#include "block.h"
#include "pyad/cuda/cosine_distance_map.h"

namespace pyad::cuda {

struct CosinePair {
    const float *a, *b;
    int64_t stride_a, stride_b;
    int64_t locations;    // of a picture
    int64_t first;        // where its distances begin: (N, locations)
    int64_t first_block;  // of the grid
    int64_t C;
    int32_t level;
    float weight;
    bool channels_last;
};

struct CosinePairs {
    CosinePair pair[kMaxPairs];
    int32_t count = 0;
    int64_t blocks = 0;
};

struct CosineSums {
    float ab, aa, bb;
    PYAD_DEVICE CosineSums operator+(const CosineSums& other) const {
        return {add(ab, other.ab), add(aa, other.aa), add(bb, other.bb)};
    }
};

// 32 neighbouring locations of one picture of one pair, 32 groups of eight channels at a time:
// threads make the trees of the groups, then one warp for each of the three sums adds them in
// order.
struct CosineDistances {
    static constexpr int threads = 256;
    static constexpr int locations = kWarp, groups = 32, group = 8;
    static constexpr int warps = threads / kWarp;
    struct Shared {
        // One more location than there are: groups of one location lie in different banks.
        float tree[groups][3][locations + 1];
        float sum[3][locations];
    };

    CosinePairs pairs;
    int64_t N;
    float* distances;

    static int64_t tiles_of(int64_t n) { return (n + locations - 1) / locations; }

    PYAD_DEVICE void operator()(const Block& block, Shared& shared) const {
        int32_t k = 0;
        while (k + 1 < pairs.count && block.x >= pairs.pair[k + 1].first_block) ++k;
        const CosinePair& pair = pairs.pair[k];
        const int64_t tiles = (pair.locations + locations - 1) / locations;
        const int64_t n = (block.x - pair.first_block) / tiles;
        const int64_t begin = (block.x - pair.first_block) % tiles * locations;
        const int count = static_cast<int>(
            pair.locations - begin < locations ? pair.locations - begin : locations);
        const float* a = pair.a + n * pair.stride_a;
        const float* b = pair.b + n * pair.stride_b;
        const int64_t all = (pair.C + group - 1) / group;

        PerThread<float, threads> sum;
        block.for_each_thread([&](int t) { sum[t] = 0.0f; });
        for (int64_t first = 0; first < all; first += groups) {
            const int held = static_cast<int>(all - first < groups ? all - first : groups);
            block.for_each_thread([&](int t) {
                // Neighbouring threads read neighbouring memory: locations of a plane, or the
                // groups of one location.
                const int lane = t % kWarp;
                for (int i = t / kWarp; i < kWarp; i += warps) {
                    const int g = pair.channels_last ? lane : i, at = pair.channels_last ? i : lane;
                    if (g >= held || at >= count) continue;
                    const CosineSums sums = tree_of(pair, a, b, begin + at, (first + g) * group);
                    shared.tree[g][0][at] = sums.ab;
                    shared.tree[g][1][at] = sums.aa;
                    shared.tree[g][2][at] = sums.bb;
                }
            });
            block.for_each_thread([&](int t) {
                const int q = t / kWarp, at = t % kWarp;
                if (q >= 3 || at >= count) return;
                for (int g = 0; g < held; ++g) sum[t] = add(sum[t], shared.tree[g][q][at]);
            });
        }
        block.for_each_thread([&](int t) {
            if (t < 3 * kWarp) shared.sum[t / kWarp][t % kWarp] = sum[t];
        });
        block.for_each_thread([&](int t) {
            if (t < count)
                distances[pair.first + n * pair.locations + begin + t] =
                    distance_of({shared.sum[0][t], shared.sum[1][t], shared.sum[2][t]});
        });
    }

    // The products of channels c, ..., c + 7 of one location, as a tree.
    PYAD_DEVICE static CosineSums tree_of(const CosinePair& pair, const float* a, const float* b,
                                          int64_t location, int64_t c) {
        const int64_t step = pair.channels_last ? 1 : pair.locations;
        const int64_t at = pair.channels_last ? location * pair.C + c : c * step + location;
        CosineSums product[group];
        PYAD_UNROLL
        for (int i = 0; i < group; ++i) {
            const bool there = c + i < pair.C;
            const float x = there ? a[at + i * step] : 0.0f, y = there ? b[at + i * step] : 0.0f;
            product[i] = {mul(x, y), mul(x, x), mul(y, y)};
        }
        return ((product[0] + product[4]) + (product[2] + product[6])) +
               ((product[1] + product[5]) + (product[3] + product[7]));
    }

    PYAD_DEVICE static float distance_of(const CosineSums& sums) {
        const float largest = float_of(0x7f7fffffu), eps = 1e-8f;
        const float absolute = sums.ab < 0.0f ? -sums.ab : sums.ab;
        if (!(sums.aa <= largest && sums.bb <= largest && absolute <= largest))
            return float_of(0x7fc00000u);
        const float a = root(sums.aa), b = root(sums.bb);
        return sub(1.0f, div(sums.ab, mul(a > eps ? a : eps, b > eps ? b : eps)));
    }
};

}  // namespace pyad::cuda
