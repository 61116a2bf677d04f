// Greedy k-center selection (Sener & Savarese 2018; PatchCore, Roth et al. 2022, algorithm 1),
// exact.
//
//   points   (N, P) float32     initial  (N) float32, squared distances to begin with (+inf: none)
//   picks    (count) int64, in the order of selection, all different
//
// Each pick is the row with the largest minimum distance to the picks before it (and to `initial`),
// ties to the smallest index; distances are canonical (nearest_neighbors.h), so that the path is
// the same on every machine. Rows already picked never compete.
//
// Lazy subsets: let T rows with the largest minimum distances be the subset, and v the largest
// value outside of it. Minimum distances only fall. So, as long as the subset's maximum is above v,
// it is the maximum of all rows, and one pass over memory serves all picks that were made inside
// the subset.
//
// Most pairs of a row and a pick need no distance: a screen that cannot err excludes them, in 8
// bits where the CPU has integer dot products (csrc/cpu/coreset_screen.h), in float32
// (packed_rows.h) elsewhere.
//
// Limits: finite values (checked by the caller), count <= N, N P < 2^60.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

namespace pyad {

class CoresetScreen;
struct CoresetPanels;

// out (N, P_out) = points (N, D) x matrix (D, P_out), each output summed over d in index order in
// float32 without fused operations: the same bits everywhere.
void project(const float* points, int64_t N, int64_t D, const float* matrix, int64_t P_out,
             float* out);

class GreedyCoreset {
  public:
    // `points` must outlive the object. The 8-bit screen is that of the level in use now.
    GreedyCoreset(const float* points, int64_t N, int64_t P, const float* initial);
    ~GreedyCoreset();

    // Appends at least one and at most `limit` picks, those that one pass over memory can settle.
    void advance(int64_t limit);

    const std::vector<int64_t>& picks() const { return picks_; }
    int64_t passes() const { return passes_; }

  private:
    void choose_subset();
    int64_t pick_in_subset(int64_t limit);
    void come_nearer(int64_t picked);
    void apply(int64_t first);
    void apply_in_8_bits(int64_t first);
    void apply_in_float(int64_t first);

    const float* points_;
    int64_t N_, P_;
    int64_t passes_ = 0;
    std::vector<float> nearest_;             // (N) squared distance to the nearest pick; -1: picked
    std::vector<float> mean_;                // (P), of some rows
    std::unique_ptr<CoresetScreen> screen_;  // nullptr: in float32
    std::vector<int32_t> bars_;              // (N) of the screen, and what fills the last tile
    std::vector<int64_t> picks_;
    std::vector<int64_t> subset_;       // rows in ascending order
    std::vector<float> subset_points_;  // (T, P)
    std::vector<float> subset_nearest_;
    std::unique_ptr<CoresetPanels> subset_panels_;
    std::vector<uint32_t> subset_hits_;
    float outside_ = -1.0f;  // the largest value outside the subset
    float least_ = -1.0f;    // the smallest value of the last subset
};

}  // namespace pyad
