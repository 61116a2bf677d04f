// The two programs of a pass of the greedy coreset; see pyad/cuda/greedy_coreset.h.
#pragma once

#include "search_rank.cuh"

namespace pyad::cuda {

struct CoresetState {
    int64_t made;   // picks so far
    int64_t first;  // those before the last pass
};

struct CoresetMemory {
    CoresetState* state;
    float* nearest;  // (N) squared distance to the nearest pick; -1: picked

    explicit CoresetMemory(void* base)
        : state(static_cast<CoresetState*>(base)),
          nearest(reinterpret_cast<float*>(static_cast<unsigned char*>(base) + 256)) {}
    static size_t bytes(int64_t N) { return 256 + sizeof(float) * static_cast<size_t>(N); }
};

struct StartCoreset {
    static constexpr int threads = 256;
    struct Shared {};
    const float* initial;
    int64_t N;
    CoresetState* state;
    float* nearest;

    Grid grid() const { return {(N + threads - 1) / threads}; }
    PYAD_DEVICE void operator()(const Block& block, Shared&) const {
        block.for_each_thread([&](int t) {
            const int64_t n = block.x * threads + t;
            if (n == 0) *state = {0, 0};
            if (n < N) nearest[n] = initial != nullptr ? initial[n] : INFINITY;
        });
    }
};

struct PickInSubset {
    static constexpr int threads = 1024;
    static constexpr int kWarps = threads / kWarp;
    static constexpr int kSubset = 2048;
    static constexpr int kPicks = 256;
    static constexpr int kBins = 2048;
    static constexpr float kPicked = -1.0f, kNone = -2.0f;
    struct Candidate {
        float value;
        int32_t row, slot;
    };
    struct Shared {
        uint32_t bins[kBins];
        uint32_t groups[kBins / kWarp];
        float value[kSubset];  // an upper bound, exact as of the first `stamp` picks of the pass
        int32_t row[kSubset];
        int32_t stamp[kSubset];
        Candidate best[kWarps];
        int32_t picks[kPicks];
        uint32_t prefix, above, tie;
        int32_t settled, size, chosen;
    };

    const float* points;
    int64_t N, P, count;
    CoresetState* state;
    float* nearest;
    int64_t* picks;

    PYAD_DEVICE void operator()(const Block& block, Shared& shared) const {
        const int64_t first = state->made;
        if (first == count) {  // for the update that follows: nothing new
            block.for_each_thread([&](int t) {
                if (t == 0) state->first = first;
            });
            return;
        }
        const float outside = choose(block, shared);
        const int64_t left = count - first;
        const int limit = static_cast<int>(left < kPicks ? left : kPicks);
        int made = 0;
        while (made < limit) {
            block.for_each_warp([&](const Warp& warp) { refresh(warp, shared, made); });
            block.for_each_thread([&](int t) {
                if (t == 0) pick(shared, first, made, outside);
            });
            if (shared.chosen < 0) break;
            ++made;
        }
        block.for_each_thread([&](int t) {
            if (t == 0) *state = {first + made, first};
        });
    }

    // Ascends with the value; the sign of -0 does not count.
    PYAD_DEVICE static uint32_t key_of(float value) { return bits_of(value) & 0x7fffffffu; }

    // Fills the subset with the rows above a threshold, as many as fit; with the first row of those
    // at the threshold where none is above. Returns the largest value outside (kPicked: none is).
    PYAD_DEVICE float choose(const Block& block, Shared& shared) const {
        constexpr int shifts[] = {20, 9, 0}, bits[] = {11, 11, 9};
        block.for_each_thread([&](int t) {
            if (t == 0) {
                shared.prefix = shared.above = 0;
                shared.settled = shared.size = 0;
                shared.tie = 0xffffffffu;
            }
        });
        PYAD_UNROLL
        for (int level = 0; level < 3; ++level) {
            const int shift = shifts[level];
            const uint32_t prefix = shared.prefix;
            const bool settled = shared.settled != 0;
            block.for_each_thread([&](int t) {
                for (int bin = t; bin < kBins; bin += threads) shared.bins[bin] = 0;
            });
            if (settled) break;
            block.for_each_thread([&](int t) {
                for (int64_t n = t; n < N; n += threads) {
                    const float value = nearest[n];
                    const uint32_t key = key_of(value) >> shift;
                    if (value == kPicked || (level > 0 && key >> bits[level] != prefix)) continue;
                    atomic_add(&shared.bins[key & ((1u << bits[level]) - 1)], 1u);
                }
            });
            block.for_each_thread([&](int t) {
                if (t >= kBins / kWarp) return;
                uint32_t sum = 0;
                for (int i = 0; i < kWarp; ++i) sum += shared.bins[t * kWarp + i];
                shared.groups[t] = sum;
            });
            block.for_each_thread([&](int t) {
                if (t == 0) descend(shared, bits[level]);
            });
        }
        // Where everything fits, all rows are above the threshold.
        const bool all = shared.settled != 0;
        const uint32_t threshold = shared.prefix;
        const bool alone = !all && shared.above == 0;
        block.for_each_thread([&](int t) {
            for (int64_t n = t; n < N; n += threads) {
                const float value = nearest[n];
                if (value == kPicked) continue;
                const uint32_t key = key_of(value);
                if (all || key > threshold)
                    enter(shared, atomic_add(&shared.size, 1), value, n);
                else if (alone && key == threshold)
                    atomic_min(&shared.tie, static_cast<uint32_t>(n));
            }
        });
        block.for_each_thread([&](int t) {
            if (t == 0 && alone) {
                shared.size = 1;
                enter(shared, 0, nearest[shared.tie], shared.tie);
            }
        });
        const int size = shared.size;
        block.for_each_thread([&](int t) {
            for (int slot = t; slot < kSubset; slot += threads)
                if (slot >= size) enter(shared, slot, kNone, 0x7fffffff);
        });
        return all ? kPicked : float_of(threshold);
    }

    PYAD_DEVICE static void enter(Shared& shared, int slot, float value, int64_t row) {
        shared.value[slot] = value;
        shared.row[slot] = static_cast<int32_t>(row);
        shared.stamp[slot] = 0;
    }

    // From the largest bin downwards to the one that no longer fits: the threshold's next bits.
    PYAD_DEVICE static void descend(Shared& shared, int bits) {
        uint32_t above = shared.above;
        int group = kBins / kWarp - 1;
        for (; group >= 0 && above + shared.groups[group] <= kSubset; --group)
            above += shared.groups[group];
        if (group < 0) {  // only on the first level: later ones have more rows than fit
            shared.settled = 1;
            return;
        }
        int bin = group * kWarp + kWarp - 1;
        for (; above + shared.bins[bin] <= kSubset; --bin) above += shared.bins[bin];
        shared.above = above;
        shared.prefix = shared.prefix << bits | static_cast<uint32_t>(bin);
    }

    PYAD_DEVICE static bool ahead(const Candidate& a, const Candidate& b) {
        return a.value > b.value || (a.value == b.value && a.row < b.row);
    }

    // Until the foremost of this warp's rows is exact.
    PYAD_DEVICE void refresh(const Warp& warp, Shared& shared, int made) const {
        for (;;) {
            PerLane<Candidate> best;
            warp.for_each_lane([&](int t) {
                best[t] = {shared.value[t], shared.row[t], t};
                for (int slot = t + threads; slot < kSubset; slot += threads) {
                    const Candidate other{shared.value[slot], shared.row[slot], slot};
                    if (ahead(other, best[t])) best[t] = other;
                }
            });
            warp.reduce(best,
                        [](const Candidate& a, const Candidate& b) { return ahead(b, a) ? b : a; });
            // The same in every lane.
            const Candidate foremost = best[warp.index * kWarp];
            const int begin = foremost.value < 0.0f ? made : shared.stamp[foremost.slot];
            if (begin == made) {
                warp.for_each_lane([&](int t) {
                    if (t % kWarp == 0) shared.best[warp.index] = foremost;
                });
                return;
            }
            PerLane<float> least;
            warp.for_each_lane([&](int t) { least[t] = foremost.value; });
            for (int i = begin; i < made; i += 2) {  // each half warp takes every other pick
                PerLane<float> distance;
                canonical_distances(warp, distance, P,
                                    [&](int t, const float*& a, const float*& b) {
                                        const int mine = i + t / 16 % 2 < made ? i + t / 16 % 2 : i;
                                        a = points + int64_t{foremost.row} * P;
                                        b = points + int64_t{shared.picks[mine]} * P;
                                    });
                warp.for_each_lane([&](int t) {
                    if (distance[t] < least[t]) least[t] = distance[t];
                });
            }
            warp.exchange(least, 16, [](float a, float b) { return b < a ? b : a; });
            warp.for_each_lane([&](int t) {
                if (t % kWarp != 0) return;
                shared.value[foremost.slot] = least[t];
                shared.stamp[foremost.slot] = made;
            });
        }
    }

    PYAD_DEVICE void pick(Shared& shared, int64_t first, int made, float outside) const {
        Candidate best = shared.best[0];
        for (int warp = 1; warp < kWarps; ++warp)
            if (ahead(shared.best[warp], best)) best = shared.best[warp];
        // The first pick is the maximum of all rows, ties included; a later one has to be above
        // every row outside: an equal one there could have the smaller index.
        const bool good = best.value >= 0.0f && (made == 0 || best.value > outside);
        shared.chosen = good ? best.slot : -1;
        if (!good) return;
        shared.value[best.slot] = kPicked;
        shared.picks[made] = best.row;
        picks[first + made] = best.row;
        nearest[best.row] = kPicked;
    }
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

template <typename Run>
void start_coreset(const float* initial, int64_t N, void* workspace, const Run& run) {
    const CoresetMemory memory(workspace);
    const StartCoreset program{initial, N, memory.state, memory.nearest};
    run(program, program.grid());
}

template <typename Run>
void coreset_passes(const float* points, int64_t N, int64_t P, int64_t count, int64_t passes,
                    void* workspace, int64_t* picks, const Run& run) {
    const CoresetMemory memory(workspace);
    const PickInSubset pick{points, N, P, count, memory.state, memory.nearest, picks};
    const UpdateNearest update{points, N, P, memory.state, memory.nearest, picks};
    for (int64_t pass = 0; pass < passes; ++pass) {
        run(pick, Grid{1});
        run(update, update.grid());
    }
}

}  // namespace pyad::cuda
