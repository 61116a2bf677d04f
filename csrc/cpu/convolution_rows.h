// Rows of outputs, for works that combine them.
#pragma once

#include <cstdint>
#include <vector>

#include "convolution_layout.h"

namespace pyad {

// The direct form of one convolution.
class DirectRows {
  public:
    explicit DirectRows(const StepPlan& plan);

    int64_t panels() const;
    int64_t blocks(int64_t p) const;  // of panel p, which begins at first_block(p)
    int64_t first_block(int64_t p) const { return p * plan_.kernels.panel_blocks; }
    int64_t weights() const { return depth_ * plan_.kernels.panel_blocks * kBlock; }  // of a panel

    // Row y of panel p of picture n to `out`, blocks at a stride.
    void write(int64_t n, int64_t p, int64_t y, float* out, int64_t out_block) const;

    // The works before: packs the source where factors are pairs.
    std::vector<Work> packing() const;

  private:
    const float* row(int64_t n, int64_t y) const;  // of the source, from its windows' left on

    StepPlan plan_;
    Layout packed_;  // of the source, in scratch; in numbers, of which `packed` fill a float
    std::vector<int64_t> offsets_;
    int64_t length_, depth_;
};

// Row i of a pool's block, from its source's pixel (0, 0) at `in`.
void pool_row(const StepPlan& plan, const float* in, int64_t in_row, int64_t i, float* out);

// Pieces of at least `least` rows that an output is cut into, where there are `others` of each.
int64_t bands_of(const StepPlan& plan, int64_t others, int64_t least = 1);

}  // namespace pyad
