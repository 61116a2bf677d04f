// Exact k-nearest-neighbour search of patch features in a memory bank.
//
//   queries    (Q, D) float32        bank     (M, D) float32, M >= k >= 1
//   distances  (Q, k) float32        indices  (Q, k) int64
//
// distances[q, j] is the canonical squared distance of queries[q] to its j-th nearest bank row.
// Rows are ordered by (distance, index): ties go to the smallest index.
//
// Canonical distance: Sum_d (q_d - b_d)^2 in float32, in one fixed order, without fused operations:
// sixteen partial sums, the l-th over d = l, l + 16, l + 32, ... in this order, then added in
// halves (l with l + 8, l + 4, l + 2, l + 1). Every instruction set, thread count, batch size and
// device gives the same bits.
//
// How: with rows centred by the bank's mean, ||q||^2 + ||b||^2 - 2 q.b is evaluated by a float32
// matrix product as a screen only. Its distance from the canonical value is at most (1.125 D + 32)
// 2^-24 (||q||^2 + ||b||^2) (Higham, "Accuracy and Stability of Numerical Algorithms", section 3.1,
// and the centring, norms and canonical sum bounded the same way); each row that this bound cannot
// exclude is evaluated canonically. Values beyond 1e15 skip the screen. CPUs with integer dot
// products screen in 8 bits first (quantized_rows.h).
//
// Limits: finite values (the caller checks; NaN or infinity gives undefined neighbours). Beyond
// D = 2^17 the screen is skipped.
// A distance that overflows float32 is +infinity and takes part in the ordering as such.
#pragma once

#include <cstdint>
#include <memory>

#include "pyad/packed_rows.h"
#include "pyad/quantized_rows.h"

namespace pyad {

struct ScreenKernels;

float canonical_distance(const float* a, const float* b, int64_t D);

// True where all n values are finite.
bool all_finite(const float* values, int64_t n);

// A bank prepared for search; holds its own copies. Safe to search from several threads at once.
class MemoryBank {
  public:
    // The level in use now serves all searches of this bank.
    MemoryBank(const float* rows, int64_t M, int64_t D);
    ~MemoryBank();

    int64_t size() const { return rows_.size(); }
    int64_t dim() const { return rows_.dim(); }

    void search(const float* queries, int64_t Q, int64_t k, float* distances,
                int64_t* indices) const;

  private:
    void search_block(const float* queries, int64_t Q, int64_t k, float* distances,
                      int64_t* indices) const;

    const ScreenKernels* kernels_;
    PackedRows rows_;
    std::unique_ptr<QuantizedRows> quantized_;
};

}  // namespace pyad
