// The inner loops of the distance screen, one form per instruction set.
#pragma once

#include <cstdint>

#include "pyad/packed_rows.h"

namespace pyad {

constexpr int kMaxTileHeight = 16;

struct ScreenKernels {
    int MR;  // queries of one tile

    // For one group of queries (D, MR) and one panel of rows (D, 32): bounds[r, j] = norms[j] - 2 q.b,
    // and bit j of hits[r] set where bounds[r, j] <= thresholds[r]. bounds is written where hits is not 0.
    void (*tile)(const float* group, const float* panel, int64_t D, const float* norms,
                 const float* thresholds, uint32_t* hits, float* bounds);

    float (*canonical)(const float* a, const float* b, int64_t D);
};

extern const ScreenKernels screen_portable;
#ifdef PYAD_X86_LEVELS
extern const ScreenKernels screen_avx2;
extern const ScreenKernels screen_avx512;
#endif

// The kernels of the level in use.
const ScreenKernels& screen_kernels();

// Visits every row that may lie within a query's bar. visit(query, row) returns the query's new bar (its
// best distance so far). Rows of one panel are visited from the most promising on, so that bars fall fast.
template <typename Visit>
void screen(const ScreenKernels& kernels, const PackedRows& rows, PackedQueries& queries, int64_t n,
            Visit&& visit) {
    uint32_t hits[kMaxTileHeight];
    float bounds[kMaxTileHeight * kPanel];
    for (int64_t p = 0; p < rows.panels(); ++p) {
        for (int64_t g = 0; g < queries.groups(); ++g) {
            kernels.tile(queries.group(g), rows.panel(p), rows.dim(), rows.norms(p), queries.thresholds(g),
                         hits, bounds);
            for (int r = 0; r < kernels.MR; ++r) {
                const int64_t i = g * kernels.MR + r;
                if (i >= n) break;
                uint32_t open = hits[r];
                const float* bound = bounds + r * kPanel;
                while (open) {
                    int best = -1;
                    for (uint32_t rest = open; rest; rest &= rest - 1) {
                        const int j = __builtin_ctz(rest);
                        if (best < 0 || bound[j] < bound[best]) best = j;
                    }
                    open &= ~(1u << best);
                    const int64_t row = p * kPanel + best;
                    if (row >= rows.size()) continue;
                    if (!(bound[best] <= queries.threshold(i))) break;  // the rest is farther still
                    queries.set_best(i, visit(i, row));
                }
            }
        }
    }
}

}  // namespace pyad
