// The inner loops of the distance screen, one form per instruction set.
#pragma once

#include <cstdint>

#include "pyad/packed_rows.h"
#include "pyad/quantized_rows.h"

namespace pyad {

constexpr int kMaxTileHeight = 32;
constexpr int kBatch = 4;

constexpr int64_t kQueryLanes = 32;  // queries of one group of NearestKernels

// Rows as the first operand of a matrix product.
struct RowTiles {
    const int8_t* values;  // (words / 16, 32, 64)
    const float* scales;   // (32)
    const float* norms;    // (32)
};

// What nearest_screen.h needs of an instruction set.
struct NearestKernels {
    // For groups of 32 queries (groups, words, 32, 4) with scales 2 s (groups, 32): the two least
    // bounds over each of some panels of rows, (panels, groups, 32).
    void (*minima)(const int8_t* queries, const float* query_scales, int64_t groups,
                   const RowTiles* rows, int64_t panels, int64_t words, float* least,
                   float* second);
    // All 32 bounds for one query of one group.
    void (*bounds)(const int8_t* queries, const float* query_scales, int lane, const RowTiles& rows,
                   int64_t words, float* bounds);
    // Of 16 queries, the least of `panels` values that lie `step` apart, and where.
    void (*lowest)(const float* least, int64_t panels, int64_t step, float* values,
                   int32_t* places);
    // Where any of 16 queries has a value of at most its limit: places and masks; returns how many.
    int64_t (*within)(const float* least, int64_t panels, int64_t step, const float* limits,
                      int32_t* places, uint32_t* masks);
};

struct ScreenKernels {
    int MR;  // queries of one tile

    // For one group of queries (D, MR) and one panel of rows (D, 32): bounds[r, j] = norms[j] - 2
    // q.b, and bit j of hits[r] set where bounds[r, j] <= thresholds[r]. bounds is written where
    // hits is not 0.
    void (*tile)(const float* group, const float* panel, int64_t D, const float* norms,
                 const float* thresholds, uint32_t* hits, float* bounds);
    // The same bounds as levels: estimates (MR, 32), rows `step` bytes apart.
    void (*estimate)(const float* group, const float* panel, int64_t D, const float* norms,
                     const Levels& levels, uint8_t* estimates, int64_t step);
    // sums (MR, 32) += q.b, the D products added up first.
    void (*multiply)(const float* group, const float* panel, int64_t D, float* sums);

    float (*canonical)(const float* a, const float* b, int64_t D);
    // kBatch of them at once, which hides the latency of the sums.
    void (*canonical_batch)(const float* a, const float* const* b, int64_t D, float* distances);

    // The place of the least of 32 numbers, the first of equal ones.
    int (*least)(const float* bounds);
    // The least of n bytes; the places of those in (above, highest]. n is a multiple of 32.
    uint8_t (*lowest)(const uint8_t* bytes, int64_t n);
    int64_t (*collect)(const uint8_t* bytes, int64_t n, int above, int highest, int32_t* places);

    // The forms in few bits (quantized_rows.h), or nullptr where the instruction set has none that
    // pays.
    const QuantizedKernels* int8;
    const QuantizedKernels* bfloat16;
};

extern const ScreenKernels screen_portable;
#ifdef PYAD_X86_LEVELS
extern const ScreenKernels screen_avx2;
#ifdef PYAD_AVX_VNNI_LEVEL
extern const ScreenKernels screen_avx2vnni;
#endif
extern const ScreenKernels screen_avx512;
extern const ScreenKernels screen_avx512vnni;
#ifdef PYAD_AMX_LEVEL
extern const ScreenKernels screen_avx512amx;
extern const NearestKernels nearest_avx512amx;
#endif
#endif
#ifdef PYAD_ARM_LEVELS
extern const ScreenKernels screen_neon;
extern const ScreenKernels screen_neondot;
#endif

// The kernels of the level in use.
const ScreenKernels& screen_kernels();

// Visits the rows of panel p that may lie within the bar of query i, from the most promising on, so
// that the bar falls fast. visit(query, row) returns the query's new bar.
template <typename Rows, typename Queries, typename Visit>
void visit_panel(const Rows& rows, Queries& queries, int64_t i, int64_t p, uint32_t open,
                 const float* bound, Visit&& visit) {
    if (!open) return;
    int j = __builtin_ctz(open);
    for (uint32_t rest = open; rest; rest &= rest - 1)
        if (bound[__builtin_ctz(rest)] < bound[j]) j = __builtin_ctz(rest);
    for (;;) {
        const int64_t row = p * kPanel + j;
        if (row < rows.size() && queries.within(i, bound[j], rows.residual(row)))
            queries.set_best(i, visit(i, row));
        open &= ~(1u << j);
        if (!open) return;
        j = __builtin_ctz(open);
    }
}

// Visits every row that may lie within a query's bar, for rows and queries packed in one of two
// ways: PackedRows with PackedQueries (float32), QuantizedRows with QuantizedQueries (few bits).
// tile(group, panel, hits, bounds) runs one tile. For queries that come with a good bar.
template <typename Rows, typename Queries, typename Tile, typename Visit>
void screen(const Rows& rows, Queries& queries, int64_t n, Tile&& tile, Visit&& visit) {
    uint32_t hits[kMaxTileHeight];
    float bounds[kMaxTileHeight * kPanel];
    const int MR = queries.MR();
    for (int64_t p = 0; p < rows.panels(); ++p)
        for (int64_t g = 0; g < queries.groups(); ++g) {
            tile(g, p, hits, bounds);
            for (int r = 0; r < MR && g * MR + r < n; ++r)
                visit_panel(rows, queries, g * MR + r, p, hits[r], bounds + r * kPanel, visit);
        }
}

// The same with the float32 tile of `kernels`.
template <typename Visit>
void screen(const ScreenKernels& kernels, const PackedRows& rows, PackedQueries& queries, int64_t n,
            Visit&& visit) {
    const auto tile = [&](int64_t g, int64_t p, uint32_t* hits, float* bounds) {
        kernels.tile(queries.group(g), rows.panel(p), rows.dim(), rows.norms(p),
                     queries.thresholds(g), hits, bounds);
    };
    screen(rows, queries, n, tile, visit);
}

}  // namespace pyad
