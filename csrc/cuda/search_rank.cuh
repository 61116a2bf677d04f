// Canonical distances of the rows that a screen has kept, and the k nearest of them; one block a
// query. The canonical distance is that of csrc/include/pyad/nearest_neighbors.h: sixteen lanes of
// a half warp hold its sixteen partial sums.
#pragma once

#include "search_screen.cuh"

namespace pyad::cuda {

PYAD_DEVICE bool before(float d, int64_t row, float other_d, int64_t other_row) {
    return d < other_d || (d == other_d && row < other_row);
}

// After it, every lane of each half warp holds the canonical distance of its half's two vectors.
template <typename Pair>
PYAD_DEVICE void canonical_distances(const Warp& warp, PerLane<float>& sum, int64_t D,
                                     const Pair& pair) {
    warp.for_each_lane([&](int t) {
        const float *a = nullptr, *b = nullptr;
        pair(t, a, b);
        float partial = 0.0f;
        if (a != nullptr)
            for (int64_t d = t % 16; d < D; d += 16) {
                const float difference = sub(a[d], b[d]);
                partial = add(partial, mul(difference, difference));
            }
        sum[t] = partial;
    });
    PYAD_UNROLL
    for (int mask = 8; mask > 0; mask /= 2)
        warp.exchange(sum, mask, [](float x, float y) { return add(x, y); });
}

// Common to the programs below: `kept` rows become the k nearest.
struct Ranking {
    static constexpr int threads = 128;
    static constexpr int kWarps = threads / kWarp;
    struct Shared {
        Survivor kept[kCapacity];
        int32_t order[kCapacity];
        int32_t kept_count, order_count;
        uint32_t bounds[kMaxNeighbors];
        uint64_t keys[threads];
        float distances[threads];
        uint32_t open[kWarps];
        float best_distance[kMaxNeighbors];
        int64_t best_row[kMaxNeighbors];
    };

    const float* queries;  // (Q, D)
    const float* rows;     // (M, D)
    int64_t M, D, k;
    const QueryTerms* query_terms;
    const RowTerms* row_terms;
    const int32_t* state;  // (Q)
    float* distances;      // (Q, k)
    int64_t* indices;      // (Q, k)

    PYAD_DEVICE void start(const Block& block, Shared& shared) const {
        block.for_each_thread([&](int t) {
            if (t < k) {
                shared.bounds[t] = bits_of(INFINITY);
                shared.best_distance[t] = INFINITY;
                shared.best_row[t] = M;
            }
            if (t == 0) shared.kept_count = shared.order_count = 0;
        });
    }

    // Ranks rows row_of(0), ..., row_of(n - 1), all different from those ranked before unless k
    // = 1.
    template <typename RowOf>
    PYAD_DEVICE void rank(const Block& block, Shared& shared, int64_t q, int64_t n,
                          const RowOf& row_of) const {
        const float* query = queries + q * D;
        for (int64_t first = 0; first < n; first += threads) {
            const int size = static_cast<int>(n - first < threads ? n - first : threads);
            block.for_each_warp([&](const Warp& warp) {
                for (int i = 2 * warp.index; i < size; i += 2 * kWarps) {
                    PerLane<float> sum;
                    canonical_distances(warp, sum, D, [&](int t, const float*& a, const float*& b) {
                        const int mine = i + t / 16 % 2;
                        if (mine >= size) return;
                        a = query;
                        b = rows + row_of(first + mine) * D;
                    });
                    warp.for_each_lane([&](int t) {
                        const int mine = i + t / 16 % 2;
                        if (t % 16 == 0 && mine < size) shared.distances[mine] = sum[t];
                    });
                }
            });
            block.for_each_warp([&](const Warp& warp) {
                const uint32_t open = warp.ballot([&](int t) {
                    return t < size && before(shared.distances[t], row_of(first + t),
                                              shared.best_distance[k - 1], shared.best_row[k - 1]);
                });
                warp.for_each_lane([&](int t) {
                    if (t % kWarp == 0) shared.open[warp.index] = open;
                });
            });
            block.for_each_thread([&](int t) {
                if (t != 0) return;
                for (int warp = 0; warp < kWarps; ++warp)
                    for (int lane = 0; lane < kWarp; ++lane)
                        if (shared.open[warp] >> lane & 1)
                            insert(shared, shared.distances[warp * kWarp + lane],
                                   row_of(first + warp * kWarp + lane));
            });
        }
    }

    PYAD_DEVICE void insert(Shared& shared, float d, int64_t row) const {
        int64_t j = k - 1;
        if (!before(d, row, shared.best_distance[j], shared.best_row[j])) return;
        for (; j > 0 && before(d, row, shared.best_distance[j - 1], shared.best_row[j - 1]); --j) {
            shared.best_distance[j] = shared.best_distance[j - 1];
            shared.best_row[j] = shared.best_row[j - 1];
        }
        shared.best_distance[j] = d;
        shared.best_row[j] = row;
    }

    PYAD_DEVICE void finish(const Block& block, const Shared& shared, int64_t q,
                            bool finite) const {
        block.for_each_thread([&](int t) {
            if (t >= k) return;
            distances[q * k + t] = finite ? shared.best_distance[t] : NAN;
            indices[q * k + t] = finite ? shared.best_row[t] : -1;
        });
    }

    PYAD_DEVICE void rank_all(const Block& block, Shared& shared, int64_t q) const {
        rank(block, shared, q, M, [](int64_t i) { return i; });
    }

    // Ranks shared.kept[0 .. kept_count). With k = 1 the most promising row comes first: its
    // distance is a tighter bar for the others.
    PYAD_DEVICE void rank_kept(const Block& block, Shared& shared, int64_t q, float bound) const {
        const int count = shared.kept_count;
        if (k == 1 && count > 1) {
            PerThread<uint64_t, threads> key;
            block.for_each_thread([&](int t) {
                key[t] = ~uint64_t{0};
                for (int i = t; i < count; i += threads) {
                    const uint32_t bits = bits_of(shared.kept[i].e);
                    // Ascending with the float's value.
                    const uint32_t ascending = bits >> 31 ? ~bits : bits | 0x80000000u;
                    const uint64_t mine = uint64_t{ascending} << 32 | static_cast<uint32_t>(i);
                    if (mine < key[t]) key[t] = mine;
                }
            });
            block.reduce(key, shared.keys, [](uint64_t a, uint64_t b) { return a < b ? a : b; });
            const int first = static_cast<int>(shared.keys[0] & 0xffffffffu);
            rank(block, shared, q, 1, [&](int64_t) { return int64_t{shared.kept[first].row}; });
            const float d = widened(root(shared.best_distance[0]), D);
            bound = d < bound ? d : bound;
        }
        const Bar bar = bar_of(bound, query_terms[q]);
        block.for_each_thread([&](int t) {
            for (int i = t; i < count; i += threads) {
                const Survivor& survivor = shared.kept[i];
                if (may_be_within(survivor.e, row_terms[survivor.row].residual, bar))
                    shared.order[atomic_add(&shared.order_count, 1)] = i;
            }
        });
        const int n = shared.order_count;
        rank(block, shared, q, n,
             [&](int64_t i) { return int64_t{shared.kept[shared.order[i]].row}; });
    }
};

// After ScreenProgram.
struct RankSurvivors {
    static constexpr int threads = Ranking::threads;
    using Shared = Ranking::Shared;
    Ranking ranking;
    const uint32_t* bounds;  // (padded Q, k)
    const int32_t* counts;
    const Survivor* survivors;

    PYAD_DEVICE void operator()(const Block& block, Shared& shared) const {
        const int64_t q = block.x;
        const int32_t count = counts[q];
        ranking.start(block, shared);
        if (ranking.state[q] == kScreened && count <= kCapacity) {
            block.for_each_thread([&](int t) {
                for (int i = t; i < count; i += threads)
                    shared.kept[i] = survivors[q * kCapacity + i];
                if (t == 0) shared.kept_count = count;
            });
            float bound = 0.0f;
            for (int64_t g = 0; g < ranking.k; ++g)
                bound = larger(bound, float_of(bounds[q * ranking.k + g]));
            ranking.rank_kept(block, shared, q, bound);
        } else if (ranking.state[q] != kNotFinite) {
            ranking.rank_all(block, shared, q);
        }
        ranking.finish(block, shared, q, ranking.state[q] != kNotFinite);
    }
};

// After EstimateProgram, for a slab of queries; `ranking` begins with the slab.
struct RankEstimates {
    static constexpr int threads = Ranking::threads;
    using Shared = Ranking::Shared;
    Ranking ranking;
    const float* estimates;  // (padded slab, padded M)
    int64_t padded_rows;

    PYAD_DEVICE void operator()(const Block& block, Shared& shared) const {
        const int64_t q = block.x, k = ranking.k;
        ranking.start(block, shared);
        if (ranking.state[q] == kScreened) {
            const float* e = estimates + q * padded_rows;
            const QueryTerms query = ranking.query_terms[q];
            block.for_each_thread([&](int t) {
                float least = INFINITY;
                int64_t row = t;
                for (int64_t m = t; m < ranking.M; m += threads)
                    if (e[m] < least) {
                        least = e[m];
                        row = m;
                    }
                if (least < INFINITY)
                    atomic_min(&shared.bounds[t % k],
                               bits_of(reach(least, ranking.row_terms[row], query, ranking.D)));
            });
            float bound = 0.0f;
            for (int64_t g = 0; g < k; ++g) bound = larger(bound, float_of(shared.bounds[g]));
            const Bar bar = bar_of(bound, query);
            block.for_each_thread([&](int t) {
                for (int64_t m = t; m < ranking.M; m += threads) {
                    if (!may_be_within(e[m], ranking.row_terms[m].residual, bar)) continue;
                    const int slot = atomic_add(&shared.kept_count, 1);
                    if (slot < kCapacity) shared.kept[slot] = {e[m], static_cast<int32_t>(m)};
                }
            });
            if (shared.kept_count <= kCapacity)
                ranking.rank_kept(block, shared, q, bound);
            else
                ranking.rank_all(block, shared, q);
        } else if (ranking.state[q] != kNotFinite) {
            ranking.rank_all(block, shared, q);
        }
        ranking.finish(block, shared, q, ranking.state[q] != kNotFinite);
    }
};

// Without a screen.
struct RankAll {
    static constexpr int threads = Ranking::threads;
    using Shared = Ranking::Shared;
    Ranking ranking;

    PYAD_DEVICE void operator()(const Block& block, Shared& shared) const {
        const float* query = ranking.queries + block.x * ranking.D;
        ranking.start(block, shared);
        block.for_each_thread([&](int t) {
            float zero = 0.0f;  // NaN where a value is not finite
            for (int64_t d = t; d < ranking.D; d += threads)
                zero = add(zero, sub(query[d], query[d]));
            if (zero != 0.0f) atomic_add(&shared.kept_count, 1);
        });
        const bool finite = shared.kept_count == 0;
        if (finite) ranking.rank_all(block, shared, block.x);
        ranking.finish(block, shared, block.x, finite);
    }
};

}  // namespace pyad::cuda
