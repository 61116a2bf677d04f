// The two programs around the tile. ScreenProgram tests every estimate as soon as it is there and
// keeps the rows that may be among the k nearest; EstimateProgram writes the estimates for a later
// reduction.
#pragma once

#include "search_tile.cuh"

namespace pyad::cuda {

constexpr int kCapacity = 512;  // rows that may be kept for a query; more take the exact path
constexpr int kMaxNeighbors = 16;

struct Survivor {
    float e;
    int32_t row;
};

// What both sides of a tile bring along.
struct ScreenSides {
    const unsigned char* queries;  // (padded Q, pitch)
    const unsigned char* rows;     // (padded M, pitch)
    int64_t pitch;
    const QueryTerms* query_terms;
    const RowTerms* row_terms;
    int64_t Q, M, D;

    int64_t query_tiles() const { return (Q + kTile - 1) / kTile; }
    int64_t tiles() const { return query_tiles() * ((M + kTile - 1) / kTile); }
};

// bounds[q, g], g < k, is a distance within which group g holds a row, so that the k nearest lie
// within their maximum: each tile is 8 sets of rows in turn, a set belongs to the group of its
// number modulo k, and the set's most promising row gives a distance (`reach`). A row that may be
// within the maximum as it stands is kept; the maximum only falls, so none that belongs to the k
// nearest is lost. Stale bounds keep more rows, nothing else.
template <typename Kind>
struct ScreenProgram {
    static constexpr int threads = ScreenTile<Kind>::threads;
    static constexpr int resident = 2;
    static constexpr int kSets = 8;
    struct Best {
        float e;
        int32_t row;  // within the tile
    };
    struct Epilogue {
        RowTerms rows[kTile];
        QueryTerms queries[kTile];
        Best best[kTile * kSets];
        Bar bars[kTile];
    };
    union Shared {
        Stage stages[kStages];
        Epilogue end;
    };

    ScreenSides sides;
    int64_t k;
    uint32_t* bounds;     // (padded Q, k), bits of floats
    int32_t* counts;      // (padded Q): rows that wanted to be kept
    Survivor* survivors;  // (Q, kCapacity)

    PYAD_DEVICE void operator()(const Block& block, Shared& shared) const {
        const int64_t query_tiles = (sides.Q + kTile - 1) / kTile;
        const int64_t q0 = block.x % query_tiles * kTile, tile = block.x / query_tiles;
        const int64_t m0 = tile * kTile;
        ScreenTile<Kind> product;
        product.multiply(block, shared.stages, sides.queries + q0 * sides.pitch,
                         sides.rows + m0 * sides.pitch, sides.pitch);
        Epilogue& end = shared.end;
        block.for_each_thread([&](int t) {
            if (t < kTile)
                end.rows[t] = sides.row_terms[m0 + t];
            else
                end.queries[t - kTile] = sides.query_terms[q0 + t - kTile];
        });
        block.for_each_thread([&](int t) {
            Best best{};
            int done = -1;
            const auto flush = [&](int query) {
                if (done >= 0) end.best[done * kSets + t / kWarp % 2 * 4 + t % 4] = best;
                best = {INFINITY, 0};
                done = query;
            };
            product.for_each(t, flush, [&](int query, int row, float p) {
                const float e = estimate(end, query, row, p);
                if (e < best.e) best = {e, row};
            });
            flush(-1);
        });
        block.for_each_thread([&](int t) {
            if (t < kTile) end.bars[t] = bar_of(tighten(end, q0 + t, t, tile), end.queries[t]);
        });
        block.for_each_thread([&](int t) {
            Bar bar{};
            product.for_each(
                t, [&](int query) { bar = end.bars[query]; },
                [&](int query, int row, float p) {
                    if (m0 + row >= sides.M || q0 + query >= sides.Q) return;
                    const float e = estimate(end, query, row, p);
                    if (!may_be_within(e, end.rows[row].residual, bar)) return;
                    const int64_t q = q0 + query;
                    const int slot = atomic_add(counts + q, 1);
                    if (slot < kCapacity)
                        survivors[q * kCapacity + slot] = {e, static_cast<int32_t>(m0 + row)};
                });
        });
    }

    PYAD_DEVICE static float estimate(const Epilogue& end, int query, int row, float p) {
        const RowTerms& terms = end.rows[row];
        return sub(terms.base, mul(terms.scale, mul(end.queries[query].scale, p)));
    }

    // Lowers the bounds of query q by what the tile's sets hold; the maximum over its groups.
    PYAD_DEVICE float tighten(const Epilogue& end, int64_t q, int query, int64_t tile) const {
        uint32_t* mine = bounds + q * k;
        const unsigned first = static_cast<unsigned>(tile % k) * kSets;
        for (int set = 0; set < kSets; ++set) {
            const Best& best = end.best[query * kSets + set];
            const float d = reach(best.e, end.rows[best.row], end.queries[query], sides.D);
            uint32_t* group = mine + (first + set) % static_cast<unsigned>(k);
            if (bits_of(d) < load_fresh(group)) atomic_min(group, bits_of(d));
        }
        uint32_t most = 0;
        for (int64_t g = 0; g < k; ++g) {
            const uint32_t bound = load_fresh(mine + g);
            most = bound > most ? bound : most;
        }
        return float_of(most);
    }
};

// estimates[q, m] = e, for the queries of a slab and the padded rows.
template <typename Kind>
struct EstimateProgram {
    static constexpr int threads = ScreenTile<Kind>::threads;
    static constexpr int resident = 2;
    union Shared {
        Stage stages[kStages];
        RowTerms rows[kTile];
    };

    ScreenSides sides;
    float* estimates;  // (padded Q, padded M)
    int64_t padded_rows;

    PYAD_DEVICE void operator()(const Block& block, Shared& shared) const {
        const int64_t query_tiles = (sides.Q + kTile - 1) / kTile;
        const int64_t q0 = block.x % query_tiles * kTile;
        const int64_t m0 = block.x / query_tiles * kTile;
        ScreenTile<Kind> product;
        product.multiply(block, shared.stages, sides.queries + q0 * sides.pitch,
                         sides.rows + m0 * sides.pitch, sides.pitch);
        block.for_each_thread([&](int t) {
            if (t < kTile) shared.rows[t] = sides.row_terms[m0 + t];
        });
        block.for_each_thread([&](int t) {
            float scale = 0.0f;
            float* out = nullptr;
            product.for_each(
                t,
                [&](int query) {
                    scale = sides.query_terms[q0 + query].scale;
                    out = estimates + (q0 + query) * padded_rows + m0;
                },
                [&](int, int row, float p) {
                    const RowTerms& terms = shared.rows[row];
                    out[row] = sub(terms.base, mul(terms.scale, mul(scale, p)));
                });
        });
    }
};

}  // namespace pyad::cuda
