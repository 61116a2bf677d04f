// Rows and queries in 8 bits for the distance screen on CPUs with integer dot products.
//
// A centred vector x becomes s v + r with v in [-127, 127]^D, one scale s, and the actual norm of
// its residual rho = ||r|| (rounded up, with what centring in float32 may have moved). For a row y
// and a query x the distance of the quantised vectors is known up to float rounding, since their
// dot product is an exact integer; and by the triangle inequality
//     ||x - y|| <= d  implies  ||s_x v_x - s_y v_y|| <= d + rho_x + rho_y.
// Rows that fail this cannot be at distance d; the others are evaluated canonically. The rounding
// of the test itself is covered by widening d, rho and the norms by 16 units in the last place.
#pragma once

#include <cstdint>
#include <vector>

#include "pyad/packed_rows.h"

namespace pyad {

constexpr float kQuantizedLimit = 1e12f;  // larger values could overflow the test
constexpr int64_t kQuantizedDim = 1024;   // longer dot products would not be exact in float32

// One panel of 32 rows.
struct QuantizedPanel {
    const uint8_t* values;   // (D / 4, 32, 4): v + 128
    const float* scales;     // (32)
    const float* norms;      // (32): ||s v||^2 (1 - 16 u) - rho^2; +infinity behind the last row
    const float* residuals;  // (32): rho
};

// One group of MR queries.
struct QuantizedGroup {
    const int8_t* values;        // (D / 4, MR, 4): v
    const int32_t* corrections;  // (MR): 128 sum v, because the rows are stored with an offset
    const float* scales;         // (MR): 2 s
    const float* reaches;        // (MR): 2 (d + rho)
    const float* thresholds;     // (MR): (d + rho)^2 - ||s v||^2 (1 - 16 u)
};

// One vector in 8 bits.
struct Quantized {
    float largest = 0.0f;   // absolute value after centring; beyond the limit the rest is undefined
    float scale = 0.0f;     // s
    double norm = 0.0;      // ||s v||^2
    double residual = 0.0;  // rho, never too small
    int32_t sum = 0;        // of v
};

// Quantises row - mean; values holds D numbers, rounded up to whole sixteens with zeros.
using Quantize = Quantized (*)(const float* row, const float* mean, int64_t D, int8_t* values);

class QuantizedRows {
  public:
    // mean: (D), subtracted first.
    QuantizedRows(const float* rows, int64_t M, int64_t D, const float* mean, Quantize quantize);

    int64_t size() const { return M_; }
    int64_t panels() const { return (M_ + kPanel - 1) / kPanel; }
    int64_t quads() const { return quads_; }
    float residual(int64_t m) const { return residuals_[m]; }
    bool huge() const { return huge_; }
    QuantizedPanel panel(int64_t p) const {
        return {values_.data() + p * quads_ * kPanel * 4, scales_.data() + p * kPanel,
                norms_.data() + p * kPanel, residuals_.data() + p * kPanel};
    }

  private:
    int64_t M_, quads_;
    bool huge_ = false;
    std::vector<uint8_t> values_;
    std::vector<float> scales_, norms_, residuals_;
};

class QuantizedQueries {
  public:
    // Packs n queries (n, D) with no bar yet: every row is of interest.
    void pack(const float* queries, int64_t n, int64_t D, const float* mean, int MR,
              Quantize quantize);

    // Lowers the bar of query i to rows with canonical squared distance <= best.
    void set_best(int64_t i, float best);

    bool huge() const { return huge_; }
    int MR() const { return MR_; }
    // Whether a row whose tile gave `bound` may still lie within the bar of query i.
    bool within(int64_t i, float bound, float residual) const {
        return bound - reaches_[i] * residual <= thresholds_[i];
    }
    int64_t groups() const { return (n_ + MR_ - 1) / MR_; }
    QuantizedGroup group(int64_t g) const {
        return {values_.data() + g * quads_ * MR_ * 4, corrections_.data() + g * MR_,
                scales_.data() + g * MR_, reaches_.data() + g * MR_, thresholds_.data() + g * MR_};
    }

  private:
    int64_t n_ = 0, quads_ = 0, D_ = 0;
    int MR_ = 1;
    bool huge_ = false;
    std::vector<int8_t> values_, row_;
    std::vector<int32_t> corrections_;
    std::vector<float> scales_, reaches_, thresholds_;
    std::vector<double> norms_, residuals_;
};

}  // namespace pyad
