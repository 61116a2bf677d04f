// The inner loops of the distance screen, one form per instruction set.
#pragma once

#include <cstdint>

#include "pyad/packed_rows.h"
#include "pyad/quantized_rows.h"

namespace pyad {

constexpr int kMaxTileHeight = 16;

struct ScreenKernels {
    int MR;  // queries of one tile

    // For one group of queries (D, MR) and one panel of rows (D, 32): bounds[r, j] = norms[j] - 2
    // q.b, and bit j of hits[r] set where bounds[r, j] <= thresholds[r]. bounds is written where
    // hits is not 0.
    void (*tile)(const float* group, const float* panel, int64_t D, const float* norms,
                 const float* thresholds, uint32_t* hits, float* bounds);

    float (*canonical)(const float* a, const float* b, int64_t D);

    // The 8-bit forms (quantized_rows.h; bounds are without the reach of the query), or nullptr
    // where the instruction set has none that pay.
    Quantize quantize;
    void (*quantized_tile)(const QuantizedGroup& group, const QuantizedPanel& panel, int64_t quads,
                           uint32_t* hits, float* bounds);
};

extern const ScreenKernels screen_portable;
#ifdef PYAD_X86_LEVELS
extern const ScreenKernels screen_avx2;
extern const ScreenKernels screen_avx512;
extern const ScreenKernels screen_avx512vnni;
#endif

// The kernels of the level in use.
const ScreenKernels& screen_kernels();

// Visits every row that may lie within a query's bar, for rows and queries packed in one of two
// ways: PackedRows with PackedQueries (float32), QuantizedRows with QuantizedQueries (8 bits).
// tile(group, panel, hits, bounds) runs one tile. visit(query, row) returns the query's new bar
// (its best distance so far). Rows of one panel are visited from the most promising on, so that
// bars fall fast.
template <typename Rows, typename Queries, typename Tile, typename Visit>
void screen(const Rows& rows, Queries& queries, int64_t n, Tile&& tile, Visit&& visit) {
    uint32_t hits[kMaxTileHeight];
    float bounds[kMaxTileHeight * kPanel];
    const int MR = queries.MR();
    for (int64_t p = 0; p < rows.panels(); ++p) {
        for (int64_t g = 0; g < queries.groups(); ++g) {
            tile(g, p, hits, bounds);
            for (int r = 0; r < MR; ++r) {
                const int64_t i = g * MR + r;
                if (i >= n) break;
                uint32_t open = hits[r];
                if (!open) continue;
                const float* bound = bounds + r * kPanel;
                // The most promising row first: its distance settles most of the others.
                int j = __builtin_ctz(open);
                for (uint32_t rest = open; rest; rest &= rest - 1)
                    if (bound[__builtin_ctz(rest)] < bound[j]) j = __builtin_ctz(rest);
                for (;;) {
                    const int64_t row = p * kPanel + j;
                    if (row < rows.size() && queries.within(i, bound[j], rows.residual(row)))
                        queries.set_best(i, visit(i, row));
                    open &= ~(1u << j);
                    if (!open) break;
                    j = __builtin_ctz(open);
                }
            }
        }
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
