// Rows and queries in 8 or 16 bits for the distance screen.
//
// A centred vector x becomes s v + r: v in [-127, 127]^D with one scale s (int8), or x rounded to
// bfloat16 with s = 1; and the actual norm of its residual rho = ||r|| (rounded up, with what
// centring in float32 may have moved). For a row y and a query x the distance of the quantised
// vectors is known up to float rounding: integer dot products are exact, products of bfloat16 are
// exact in float32 and their sum is off by at most (D + 8) u ||v_x|| ||v_y||. By the triangle
// inequality
//     ||x - y|| <= d  implies  ||s_x v_x - s_y v_y|| <= d + rho_x + rho_y.
// Rows that fail this cannot be at distance d; the others are evaluated canonically. The rounding
// of the test itself is covered by widening d, rho and the norms by 16 units in the last place.
//
// A vector is stored in words of 4 bytes: four int8 or two bfloat16.
#pragma once

#include <cstdint>
#include <vector>

#include "pyad/aligned.h"
#include "pyad/packed_rows.h"

namespace pyad {

constexpr float kQuantizedLimit = 1e12f;  // larger values could overflow the test
constexpr int64_t kQuantizedDim = 1024;   // longer int8 products would not be exact in float32
constexpr int64_t kBfloat16Dim = 8192;    // the bounds of longer sums are not derived

// One panel of 32 rows.
struct QuantizedPanel {
    const uint8_t* values;   // (words, 32, 4): v, or v + offset
    const float* scales;     // (32)
    const float* norms;      // (32): ||s v||^2 (1 - slack) - rho^2; +infinity behind the last row
    const float* residuals;  // (32): rho
};

// One group of MR queries.
struct QuantizedGroup {
    const int8_t* values;        // v; (words, MR, 4), or (words / 16, MR, 64) where tiled
    const int32_t* corrections;  // (MR): offset * sum v
    const float* scales;         // (MR): 2 s
    const float* reaches;        // (MR): 2 (d + rho)
    const float* thresholds;     // (MR): (d + rho)^2 - ||s v||^2 (1 - slack)
};

// One vector in few bits.
struct Quantized {
    float largest = 0.0f;   // absolute value after centring; beyond the limit the rest is undefined
    float scale = 0.0f;     // s
    double norm = 0.0;      // ||s v||^2
    double residual = 0.0;  // rho, never too small
    int32_t sum = 0;        // of v
};

struct NearestKernels;  // nearest_screen.h

// What an instruction set offers for one format.
struct QuantizedKernels {
    int MR;              // queries of one tile
    int64_t word_step;   // words come in multiples of this, filled with zeros
    int offset;          // added to the stored values of rows
    int element_bytes;   // 1: int8, 2: bfloat16
    bool tiled;          // the layout of a group
    double error_per_d;  // rounding of a dot product of D terms: (D + 8) times this; 0 where exact
    // Quantises row - mean; values holds word_step-padded words, the rest stays zero.
    Quantized (*quantize)(const float* row, const float* mean, int64_t D, int8_t* values);
    // Bounds (without the query's reach) as levels: estimates (MR, 32), rows `step` bytes apart.
    void (*estimate)(const QuantizedGroup& group, const QuantizedPanel& panel, int64_t words,
                     const Levels& levels, uint8_t* estimates, int64_t step);
    // The test for one group and one panel: bounds[r, j] (without the query's reach) and bit j of
    // hits[r]; bounds is written where hits is not 0.
    void (*tile)(const QuantizedGroup& group, const QuantizedPanel& panel, int64_t words,
                 uint32_t* hits, float* bounds);
    // Called on the thread before its first tile and after its last; may be nullptr.
    void (*enter)();
    void (*leave)();
    const NearestKernels* nearest;  // for one neighbour, or nullptr

    int64_t words(int64_t D) const {
        const int64_t plain = (D * element_bytes + 3) / 4;
        return (plain + word_step - 1) / word_step * word_step;
    }
    double norm_slack(int64_t D) const;
};

class QuantizedRows {
  public:
    // mean: (D), subtracted first.
    QuantizedRows(const float* rows, int64_t M, int64_t D, const float* mean,
                  const QuantizedKernels& kernels);

    int64_t size() const { return M_; }
    int64_t panels() const { return (M_ + kPanel - 1) / kPanel; }
    int64_t words() const { return words_; }
    float residual(int64_t m) const { return residuals_[m]; }
    float largest_residual() const { return largest_residual_; }
    bool huge() const { return huge_; }
    QuantizedPanel panel(int64_t p) const {
        return {values_.data() + p * words_ * kPanel * 4, scales_.data() + p * kPanel,
                norms_.data() + p * kPanel, residuals_.data() + p * kPanel};
    }

  private:
    int64_t M_, words_;
    bool huge_ = false;
    AlignedVector<uint8_t> values_;
    AlignedVector<float> scales_, norms_, residuals_;
    float largest_residual_ = 0.0f;
};

class QuantizedQueries {
  public:
    // Packs n queries (n, D) with no bar yet: every row is of interest.
    // lanes: in groups as of a kernel that is not tiled.
    void pack(const float* queries, int64_t n, int64_t D, const float* mean,
              const QuantizedKernels& kernels, bool lanes = false);

    // Lowers the bar of query i to rows with canonical squared distance <= best.
    void set_best(int64_t i, float best);

    bool huge() const { return huge_; }
    int MR() const { return MR_; }
    // Whether a row whose tile gave `bound` may still lie within the bar of query i.
    bool within(int64_t i, float bound, float residual) const {
        return bound - reaches_[i] * residual <= thresholds_[i];
    }
    // What bound a row with that residual may have at most.
    double bar(int64_t i, float residual) const {
        return static_cast<double>(thresholds_[i]) + static_cast<double>(reaches_[i]) * residual;
    }
    double norm(int64_t i) const { return norms_[i]; }
    int64_t groups() const { return (n_ + MR_ - 1) / MR_; }
    QuantizedGroup group(int64_t g) const {
        return {values_.data() + g * words_ * MR_ * 4, corrections_.data() + g * MR_,
                scales_.data() + g * MR_, reaches_.data() + g * MR_, thresholds_.data() + g * MR_};
    }

  private:
    int64_t n_ = 0, words_ = 0, D_ = 0;
    int MR_ = 1;
    bool huge_ = false;
    AlignedVector<int8_t> values_, row_;
    std::vector<int32_t> corrections_;
    std::vector<float> scales_, reaches_, thresholds_;
    std::vector<double> norms_, residuals_;
};

}  // namespace pyad
