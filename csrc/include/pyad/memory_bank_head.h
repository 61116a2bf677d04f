// Memory-bank head of PatchCore: feature maps of a backbone to patch scores and picture scores, in
// one call and one parallel region.
//
//   features   levels (N, C_l, h_l, w_l) float32, as for patch_aggregation.h
//   valid      (N, h, w) uint8 or null: patches that are 0 do not count
//   squared    canonical squared distance of each patch to its nearest bank row
//              (nearest_neighbors.h; ties to the smallest row)
//   distances  (N, h, w) float32, sqrt(squared)
//   rows       (N, h, w) int64, that row
//   patch      (N, h, w) float32: reweighted: may be `distances` itself; maximum: squared
//   image      (N,) float32
//     maximum     the largest squared
//     reweighted  with the first patch of the largest squared, its distance s* and its row m*:
//                 s* (1 - exp(s*) / sum over m in N(m*) of exp(distance of the patch to m)),
//                 N(m*) the k rows nearest to m* (m* among them)
// Patches that do not count have distance 0, patch 0 and row -1.
//
// Source: PatchCore (Roth et al., 2022), eqs. 6 and 7; `maximum` is the score of its official code.
//
// How: a piece is a strip of rows of patches. The thread that has it aggregates the strip, looks
// whether it is finite while it lies in its cache, and searches it; whoever ends a picture's last
// piece computes its score. The neighbours of a bank row are kept once they were searched for. The
// result is that of the single operations, to the bit, for every level, thread count and batch.
//
// Memory is taken at the first call of a size and kept; concurrent calls have scratch of their own.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "pyad/nearest_neighbors.h"
#include "pyad/patch_aggregation.h"

namespace pyad {

// Eq. 7: squared distances of the picture's most distant patch to its nearest row, and to the k
// neighbours of that row, ascending. In float64, with an exp of our own: the same on every machine.
// A neighbour whose distance is infinite leaves the weight 1.
float reweighted_score(float squared, const float* around, int64_t k);

struct HeadScores {
    float* image;      // (N)
    float* patch;      // (N, h, w)
    int64_t* rows;     // (N, h, w)
    float* distances;  // (N, h, w)
};

enum class HeadStatus {
    ok,
    not_finite,  // a patch holds NaN or infinity
    overflow,    // a squared distance of a patch that counts is no float32
    no_patch     // no patch of a picture counts
};

class MemoryBankHead {
  public:
    // plan and bank must outlive the head. neighbors: k, cut to the bank's size; 0 for `maximum`.
    // Throws std::invalid_argument where plan and bank do not fit.
    MemoryBankHead(const AggregationPlan& plan, const MemoryBank& bank, int64_t neighbors);
    ~MemoryBankHead();

    const AggregationPlan& plan() const { return plan_; }
    int64_t neighbors() const { return neighbors_; }
    int64_t rows() const { return bank_.size(); }

    // Unless the status is ok, what the outputs hold means nothing.
    HeadStatus score(const std::vector<FeatureMap>& features, int64_t N, const uint8_t* valid,
                     const HeadScores& out) const;

    // Eq. 7 for one patch (D), its squared distance and its nearest row.
    float reweight(const float* patch, float squared, int64_t row) const;

  private:
    struct Scratch;
    struct Call;
    void run_piece(const Call& call, int64_t piece) const;
    HeadStatus finish(const Call& call, int64_t n) const;
    void neighbors_of(int64_t row, int64_t* found) const;

    const AggregationPlan& plan_;
    const MemoryBank& bank_;
    int64_t neighbors_;
    // Neighbours of rows that were asked for: absent, being written, there.
    mutable std::unique_ptr<std::atomic<uint8_t>[]> states_;  // (M)
    mutable std::vector<int64_t> known_;                      // (M, k)
    mutable std::mutex mutex_;
    mutable std::vector<std::unique_ptr<Scratch>> idle_;
};

}  // namespace pyad
