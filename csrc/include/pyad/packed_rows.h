// Rows laid out for the distance screen: centred, in panels of 32, with the part of the error bound
// that belongs to each row. Shared by nearest_neighbors and greedy_coreset.
#pragma once

#include <cstdint>
#include <vector>

#include "pyad/aligned.h"

namespace pyad {

constexpr int64_t kPanel = 32;         // rows of one panel
constexpr float kScreenLimit = 1e15f;  // larger values could overflow the screen

constexpr int64_t kScreenDim = 1 << 17;  // longer rows are searched canonically

// Bounds of a group's queries as whole numbers from 0 to 255: bound * slopes[r] + offsets[r].
struct Levels {
    const float* slopes;
    const float* offsets;
};

class PackedRows {
  public:
    // mean: (D) float32 to subtract, or nullptr for the mean of the rows.
    PackedRows(const float* rows, int64_t M, int64_t D, const float* mean);

    int64_t size() const { return M_; }
    int64_t dim() const { return D_; }
    int64_t panels() const { return (M_ + kPanel - 1) / kPanel; }
    // True where a value is too large for the screen; search canonically then.
    bool huge() const { return huge_; }

    const float* panel(int64_t p) const { return packed_.data() + p * D_ * kPanel; }  // (D, 32)
    const float* norms(int64_t p) const { return norms_.data() + p * kPanel; }        // (32)
    const float* mean() const { return mean_.data(); }                                // (D)
    float residual(int64_t) const { return 0.0f; }
    float largest_residual() const { return 0.0f; }
    // The factor c of the error bound c (||q||^2 + ||b||^2), and its guard against underflow.
    double error_factor() const { return error_factor_; }
    double error_floor() const { return error_floor_; }

  private:
    int64_t M_, D_;
    bool huge_ = false;
    double error_factor_, error_floor_;
    AlignedVector<float> packed_, norms_;
    std::vector<float> mean_;
};

// (D) mean of M rows, accumulated in float64 in index order.
std::vector<float> mean_of_rows(const float* rows, int64_t M, int64_t D);

// A block of queries packed for the screen: groups of MR (the level's tile height).
class PackedQueries {
  public:
    // Packs n queries, n <= capacity given by the caller's block size; reuses its memory.
    // best[i] is the largest distance still of interest for query i.
    void pack(const float* queries, int64_t n, const PackedRows& rows, int MR, const float* best);

    // Lowers the bar of query i to rows with canonical distance <= best.
    void set_best(int64_t i, float best);

    bool huge() const { return huge_; }
    int MR() const { return MR_; }
    const float* group(int64_t g) const { return packed_.data() + g * D_ * MR_; }      // (D, MR)
    const float* thresholds(int64_t g) const { return thresholds_.data() + g * MR_; }  // (MR)
    // Whether a row whose tile gave `bound` may still lie within the bar of query i.
    bool within(int64_t i, float bound, float) const { return bound <= thresholds_[i]; }
    double bar(int64_t i, float) const { return thresholds_[i]; }
    double norm(int64_t i) const { return reduced_norms_[i]; }
    int64_t groups() const { return (n_ + MR_ - 1) / MR_; }

  private:
    int64_t n_ = 0, D_ = 0;
    int MR_ = 1;
    bool huge_ = false;
    double error_floor_ = 0;
    AlignedVector<float> packed_;
    std::vector<float> thresholds_;
    std::vector<double> reduced_norms_;
};

}  // namespace pyad
