// The screen for queries that come with no bar.
//
// Bars fall slowly while rows stream by, and rows that pass an early bar are evaluated in vain. So
// the first pass over a chunk of the bank only writes down every bound, as one byte, rounded down:
// level = (bound - zero) * slope. The second pass reads the bytes: the row with the least level
// gives the query a bar close to its final one, and what is then within the bar is evaluated.
// A level is never too large by rounding as long as |zero| * slope stays below 1e6; the bar's level
// is rounded up by a whole one.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "screen.h"

namespace pyad {

constexpr int64_t kFirstPanels = 4;          // their best rows give a bar to scale levels with
constexpr int64_t kEstimateBytes = 3 << 19;  // of one block of queries and one chunk: stays in L2

// Queries whose estimates for M rows fill that, within reason.
inline int64_t two_pass_block(int64_t M) {
    return std::max<int64_t>(96, kEstimateBytes / std::max<int64_t>(M, 1));
}

// visit(query, rows, count) evaluates rows, which may come more than once, and returns the query's
// new bar. k: rows wanted per query.
template <typename Rows, typename Queries, typename Visit>
class TwoPassScreen {
  public:
    TwoPassScreen(const ScreenKernels& kernels, const Rows& rows, Queries& queries, int64_t n,
                  int64_t k, Visit& visit)
        : kernels_(kernels),
          rows_(rows),
          queries_(queries),
          n_(n),
          k_(k),
          MR_(queries.MR()),
          visit_(visit) {}

    // tile(g, p, hits, bounds) and estimate(g, p, levels, estimates) run one tile.
    template <typename Tile, typename Estimate>
    void run(Tile&& tile, Estimate&& estimate) {
        const int64_t groups = queries_.groups(), panels = rows_.panels();
        first_bars(tile);
        const int64_t chunk =
            std::min(panels, std::max<int64_t>(8, kEstimateBytes / (groups * MR_ * kPanel)));
        thread_local AlignedVector<uint8_t> estimates;  // (groups * MR, chunk, 32)
        estimates.resize(groups * MR_ * chunk * kPanel);
        for (int64_t begin = 0; begin < panels; begin += chunk) {
            const int64_t size = std::min(chunk, panels - begin);
            scale();
            for (int64_t p = 0; p < size; ++p)
                for (int64_t g = 0; g < groups; ++g)
                    estimate(g, begin + p,
                             Levels{slopes_.data() + g * MR_, offsets_.data() + g * MR_},
                             estimates.data() + (g * MR_ * chunk + p) * kPanel, chunk * kPanel);
            for (int64_t i = 0; i < n_; ++i)
                settle(i, begin, size, estimates.data() + i * chunk * kPanel);
        }
    }

  private:
    template <typename Tile>
    void first_bars(Tile&& tile) {
        if (k_ == 1) return first_bar(tile);
        uint32_t hits[kMaxTileHeight];
        float bounds[kMaxTileHeight * kPanel];
        for (int64_t p = 0; p < std::min(rows_.panels(), kFirstPanels); ++p)
            for (int64_t g = 0; g < queries_.groups(); ++g) {
                tile(g, p, hits, bounds);
                for (int r = 0; r < MR_ && g * MR_ + r < n_; ++r)
                    visit_best(g * MR_ + r, p, hits[r], bounds + r * kPanel);
            }
    }

    // Where one row is wanted, the most promising one of all these panels will do.
    template <typename Tile>
    void first_bar(Tile&& tile) {
        uint32_t hits[kMaxTileHeight];
        float bounds[kMaxTileHeight * kPanel];
        const int64_t panels = std::min(rows_.panels(), kFirstPanels);
        for (int64_t g = 0; g < queries_.groups(); ++g) {
            const int height = static_cast<int>(std::min<int64_t>(MR_, n_ - g * MR_));
            float least[kMaxTileHeight];
            int64_t best[kMaxTileHeight];
            for (int r = 0; r < height; ++r) best[r] = -1;
            for (int64_t p = 0; p < panels; ++p) {
                tile(g, p, hits, bounds);
                for (int r = 0; r < height; ++r) {
                    if (!hits[r]) continue;
                    const int j = kernels_.least(bounds + r * kPanel);
                    if (best[r] >= 0 && bounds[r * kPanel + j] >= least[r]) continue;
                    least[r] = bounds[r * kPanel + j];
                    best[r] = p * kPanel + j;
                }
            }
            for (int r = 0; r < height; ++r)
                if (best[r] >= 0 && best[r] < rows_.size()) {
                    const int64_t i = g * MR_ + r;
                    queries_.set_best(i, visit_(i, best + r, 1));
                }
        }
    }

    // Visits up to k of the rows of panel p, the most promising first.
    void visit_best(int64_t i, int64_t p, uint32_t open, const float* bound) {
        for (int64_t visited = 0; open && visited < k_; ++visited) {
            int j = __builtin_ctz(open);
            for (uint32_t rest = open; rest; rest &= rest - 1)
                if (bound[__builtin_ctz(rest)] < bound[j]) j = __builtin_ctz(rest);
            open &= ~(1u << j);
            const int64_t row = p * kPanel + j;
            if (row < rows_.size() && queries_.within(i, bound[j], rows_.residual(row)))
                queries_.set_best(i, visit_(i, &row, 1));
        }
    }

    void scale() {
        slopes_.assign(queries_.groups() * MR_, 0.0f);
        offsets_.assign(queries_.groups() * MR_, 0.0f);
        for (int64_t i = 0; i < n_; ++i) {
            const double zero = -queries_.norm(i);
            const double range = queries_.bar(i, rows_.largest_residual()) - zero;
            if (!std::isfinite(range)) continue;  // no bar yet: every level is 0
            const double slope = std::min(250.0 / std::max(range, 1e-30), 1e6 / (1e-30 - zero));
            slopes_[i] = static_cast<float>(slope);
            offsets_[i] = static_cast<float>(-zero * slopes_[i]);
        }
    }

    // The level up to which a row with that residual is within the bar of query i.
    int level(int64_t i, float residual) const {
        const double exact = queries_.bar(i, residual) * slopes_[i] + offsets_[i] + 1.0;
        return exact < 254.0 ? static_cast<int>(std::max(exact, 0.0)) : 255;
    }

    // Second pass for one query: bytes (size, 32).
    void settle(int64_t i, int64_t begin, int64_t size, const uint8_t* bytes) {
        const int lowest = kernels_.lowest(bytes, size * kPanel);
        int highest = level(i, rows_.largest_residual());
        if (lowest > highest) return;
        visit_levels(i, begin, size, bytes, -1, lowest);
        highest = level(i, rows_.largest_residual());
        if (highest > lowest) visit_levels(i, begin, size, bytes, lowest, highest);
    }

    // Visits rows with levels in (above, highest].
    void visit_levels(int64_t i, int64_t begin, int64_t size, const uint8_t* bytes, int above,
                      int highest) {
        thread_local std::vector<int32_t> places;
        places.resize(size * kPanel);
        const int64_t found = kernels_.collect(bytes, size * kPanel, above, highest, places.data());
        int64_t wanted[kBatch];
        int64_t count = 0;
        for (int64_t c = 0; c < found; ++c) {
            const int64_t row = begin * kPanel + places[c];
            if (row >= rows_.size() || bytes[places[c]] > level(i, rows_.residual(row))) continue;
            wanted[count++] = row;
            if (count == kBatch) {
                queries_.set_best(i, visit_(i, wanted, count));
                count = 0;
            }
        }
        if (count) queries_.set_best(i, visit_(i, wanted, count));
    }

    const ScreenKernels& kernels_;
    const Rows& rows_;
    Queries& queries_;
    int64_t n_, k_;
    int MR_;
    Visit& visit_;
    std::vector<float>& slopes_ = scratch(0);
    std::vector<float>& offsets_ = scratch(1);

    // Of this thread, kept from call to call.
    static std::vector<float>& scratch(int which) {
        thread_local std::vector<float> kept[2];
        return kept[which];
    }
};

}  // namespace pyad
