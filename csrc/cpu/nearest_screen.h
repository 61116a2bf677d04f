// The screen for one neighbour, where a unit of matrix products (AMX) makes products so cheap that
// what is done with them counts most.
//
// The first pass keeps, of every panel of 32 rows, the two least bounds for each query, and in the
// five lowest bits of each the row's place in its panel. Queries are the lanes: no sum or minimum
// runs across lanes, and nothing needs a scale. The least of all panels names the row that gives
// the query its bar; then come the rows of other panels that lie within it. A panel whose second
// bound lies within it as well, which is rare, is looked through once more.
//
// The five bits move a bound by at most 2^-18 of it: tests subtract 2^-17.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "pyad/aligned.h"
#include "screen.h"

namespace pyad {

constexpr int64_t kMinimaBytes = 1 << 20;  // of one block of queries and one chunk of panels
constexpr float kFarAway = 3e38f;          // the norm of rows behind the last: never a minimum

// The int8 rows once more, in the order of RowTiles.
class TiledRows {
  public:
    explicit TiledRows(const QuantizedRows& rows)
        : rows_(rows),
          values_(rows.panels() * rows.words() * kPanel * 4),
          norms_(rows.panels() * kPanel, kFarAway) {
        for (int64_t p = 0; p < rows.panels(); ++p) {
            const QuantizedPanel panel = rows.panel(p);
            int8_t* out = values_.data() + p * rows.words() * kPanel * 4;
            for (int64_t word = 0; word < rows.words(); ++word)
                for (int64_t j = 0; j < kPanel; ++j)
                    std::memcpy(out + ((word / 16 * kPanel + j) * 16 + word % 16) * 4,
                                panel.values + (word * kPanel + j) * 4, 4);
            for (int64_t j = 0; j < kPanel && p * kPanel + j < rows.size(); ++j)
                norms_[p * kPanel + j] = panel.norms[j];
            residuals_.push_back(*std::max_element(panel.residuals, panel.residuals + kPanel));
        }
    }
    // The largest of a panel.
    float residual(int64_t p) const { return residuals_[p]; }
    RowTiles panel(int64_t p) const {
        return {values_.data() + p * rows_.words() * kPanel * 4, rows_.panel(p).scales,
                norms_.data() + p * kPanel};
    }

  private:
    const QuantizedRows& rows_;
    AlignedVector<int8_t> values_;
    AlignedVector<float> norms_;
    std::vector<float> residuals_;
};

// visit(query, rows, count) evaluates rows and returns the query's new bar.
template <typename Visit>
class NearestScreen {
  public:
    NearestScreen(const NearestKernels& kernels, const QuantizedRows& rows, const TiledRows& tiles,
                  QuantizedQueries& queries, int64_t n, Visit& visit)
        : kernels_(kernels),
          rows_(rows),
          tiles_(tiles),
          queries_(queries),
          n_(n),
          lanes_(queries.groups() * kQueryLanes),
          visit_(visit) {}

    void run() {
        const int64_t panels = rows_.panels();
        const int64_t chunk = std::min(
            panels, std::max<int64_t>(16, kMinimaBytes / (lanes_ * int64_t{2 * sizeof(float)})));
        thread_local AlignedVector<float> kept;
        thread_local std::vector<int32_t> places;
        thread_local std::vector<uint32_t> masks;
        thread_local std::vector<RowTiles> tiles;
        if (static_cast<int64_t>(kept.size()) < 2 * chunk * lanes_) kept.resize(2 * chunk * lanes_);
        if (static_cast<int64_t>(places.size()) < chunk) places.resize(chunk);
        if (static_cast<int64_t>(masks.size()) < chunk) masks.resize(chunk);
        least_ = kept.data();
        second_ = least_ + chunk * lanes_;
        const QuantizedGroup all = queries_.group(0);
        for (int64_t begin = 0; begin < panels; begin += chunk) {
            const int64_t size = std::min(chunk, panels - begin);
            tiles.clear();
            for (int64_t p = 0; p < size; ++p) tiles.push_back(tiles_.panel(begin + p));
            kernels_.minima(all.values, all.scales, queries_.groups(), tiles.data(), size,
                            rows_.words(), least_, second_);
            for (int64_t first = 0; first < n_; first += kBlock)
                settle(first, begin, size, places.data(), masks.data());
        }
    }

  private:
    static constexpr int64_t kBlock = 16;

    static int64_t place_of(float key) {
        uint32_t bits;
        std::memcpy(&bits, &key, sizeof bits);
        return bits & (kPanel - 1);
    }
    // What the bound was at least.
    static float bound_of(float key) { return key - std::fabs(key) * 0x1p-17f - 1e-37f; }

    void look_at(int64_t i, int64_t row, float bound) {
        if (row < rows_.size() && queries_.within(i, bound, rows_.residual(row)))
            queries_.set_best(i, visit_(i, &row, 1));
    }

    // Queries [first, first + 16) and panels [begin, begin + size).
    void settle(int64_t first, int64_t begin, int64_t size, int32_t* places, uint32_t* masks) {
        const int64_t count = std::min(kBlock, n_ - first);
        float values[kBlock], limits[kBlock];
        int32_t panels[kBlock];
        kernels_.lowest(least_ + first, size, lanes_, values, panels);
        int64_t promising[kBlock];
        for (int64_t l = 0; l < kBlock; ++l) limits[l] = -kFarAway;
        for (int64_t l = 0; l < count; ++l) {
            const int64_t i = first + l;
            promising[l] = (begin + panels[l]) * kPanel + place_of(values[l]);
            look_at(i, promising[l], bound_of(values[l]));
            const double bar = queries_.bar(i, rows_.largest_residual());
            // The margins of bound_of, on the other side; rounded to float with room to spare.
            limits[l] = static_cast<float>(bar + std::fabs(bar) * 0x1p-16 + 2e-37);
        }
        const int64_t found = kernels_.within(least_ + first, size, lanes_, limits, places, masks);
        for (int64_t f = 0; f < found; ++f)
            for (uint32_t open = masks[f]; open; open &= open - 1) {
                const int64_t l = __builtin_ctz(open), i = first + l;
                const int64_t at = places[f] * lanes_ + i, panel = begin + places[f];
                const int64_t row = panel * kPanel + place_of(least_[at]);
                if (row != promising[l]) look_at(i, row, bound_of(least_[at]));
                if (second_[at] > limits[l]) continue;
                const float bound = bound_of(second_[at]);
                look_at(i, panel * kPanel + place_of(second_[at]), bound);
                // The third may lie as near.
                if (queries_.within(i, bound, tiles_.residual(panel))) look_through(i, panel);
            }
    }

    void look_through(int64_t i, int64_t panel) {
        float bounds[kPanel];
        const QuantizedGroup group = queries_.group(i / kQueryLanes);
        kernels_.bounds(group.values, group.scales, static_cast<int>(i % kQueryLanes),
                        tiles_.panel(panel), rows_.words(), bounds);
        for (int64_t j = 0; j < kPanel; ++j) look_at(i, panel * kPanel + j, bounds[j]);
    }

    const NearestKernels& kernels_;
    const QuantizedRows& rows_;
    const TiledRows& tiles_;
    QuantizedQueries& queries_;
    int64_t n_, lanes_;
    Visit& visit_;
    float *least_ = nullptr, *second_ = nullptr;
};

}  // namespace pyad
