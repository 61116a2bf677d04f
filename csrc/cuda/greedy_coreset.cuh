// The programs of the greedy coreset; see pyad/cuda/greedy_coreset.h.
#pragma once

#include "coreset_update.cuh"
#include "search_rank.cuh"

namespace pyad::cuda {

struct ResetCoreset {
    static constexpr int threads = kWarp;
    struct Shared {};
    CoresetState* state;

    PYAD_DEVICE void operator()(const Block& block, Shared&) const {
        block.for_each_thread([&](int t) {
            if (t == 0) *state = {0, 0, 0};
        });
    }
};

// After ResetCoreset. A NaN must not get into `nearest`: no order of candidates survives it.
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
            if (n >= N) return;
            const float value = initial != nullptr ? initial[n] : INFINITY;
            nearest[n] = value >= 0.0f ? value : kCoresetPicked;
            if (!(value >= 0.0f)) state->refused = 1;
        });
    }
};

struct PickInSubset {
    static constexpr int threads = 1024;
    static constexpr int kWarps = threads / kWarp;
    static constexpr int kSubset = 2048;
    static constexpr int kPicks = 256;
    static constexpr int kBins = 2048;
    static constexpr float kNone = -2.0f;
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
            block.for_each_warp([&](const Warp& warp) {
                if (warp.index == 0) pick(warp, shared, first, made, outside);
            });
            if (shared.chosen < 0) break;
            ++made;
        }
        block.for_each_thread([&](int t) {
            if (t != 0) return;
            state->first = first;
            state->made = first + made;
        });
    }

    // Ascends with the value; the sign of -0 does not count.
    PYAD_DEVICE static uint32_t key_of(float value) { return bits_of(value) & 0x7fffffffu; }

    // A phase: f(minimum distance, row) for every row that is not picked. One block's scan lives on
    // the loads that each thread has under way.
    template <typename F>
    PYAD_DEVICE void each_open_row(const Block& block, const F& f) const {
        constexpr int loads = 8;
        block.for_each_thread([&](int t) {
            for (int64_t begin = t; begin < N; begin += loads * threads) {
                float values[loads];
                PYAD_UNROLL
                for (int i = 0; i < loads; ++i) {
                    const int64_t n = begin + i * threads;
                    values[i] = n < N ? nearest[n] : kCoresetPicked;
                }
                PYAD_UNROLL
                for (int i = 0; i < loads; ++i)
                    if (values[i] != kCoresetPicked) f(values[i], begin + i * threads);
            }
        });
    }

    // Fills the subset with the rows above a threshold, as many as fit; with the first row of those
    // at the threshold where none is above. Returns the largest value outside (kCoresetPicked: none
    // is).
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
            each_open_row(block, [&](float value, int64_t) {
                const uint32_t key = key_of(value) >> shift;
                if (level == 0 || key >> bits[level] == prefix)
                    atomic_add(&shared.bins[key & ((1u << bits[level]) - 1)], 1u);
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
        each_open_row(block, [&](float value, int64_t n) {
            const uint32_t key = key_of(value);
            if (all || key > threshold)
                enter(shared, atomic_add(&shared.size, 1), value, n);
            else if (alone && key == threshold)
                atomic_min(&shared.tie, static_cast<uint32_t>(n));
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
        return all ? kCoresetPicked : float_of(threshold);
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

    PYAD_DEVICE static void reduce(const Warp& warp, PerLane<Candidate>& best) {
        warp.reduce(best,
                    [](const Candidate& a, const Candidate& b) { return ahead(b, a) ? b : a; });
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
            reduce(warp, best);
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

    // The foremost of the warps' rows, if it is settled.
    PYAD_DEVICE void pick(const Warp& warp, Shared& shared, int64_t first, int made,
                          float outside) const {
        static_assert(kWarps == kWarp, "one lane a warp");
        PerLane<Candidate> best;
        warp.for_each_lane([&](int t) { best[t] = shared.best[t]; });
        reduce(warp, best);
        warp.for_each_lane([&](int t) {
            if (t != 0) return;
            const Candidate& foremost = best[t];
            // The first pick is the maximum of all rows, ties included; a later one has to be above
            // every row outside: an equal one there could have the smaller index.
            const bool settled = foremost.value >= 0.0f && (made == 0 || foremost.value > outside);
            shared.chosen = settled ? foremost.slot : -1;
            if (!settled) return;
            shared.value[foremost.slot] = kCoresetPicked;
            shared.picks[made] = foremost.row;
            picks[first + made] = foremost.row;
            nearest[foremost.row] = kCoresetPicked;
        });
    }
};

template <typename Run>
void start_coreset(const float* initial, int64_t N, void* workspace, const Run& run) {
    const CoresetMemory memory(workspace);
    const StartCoreset program{initial, N, memory.state, memory.nearest};
    run(ResetCoreset{memory.state}, Grid{1});
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
