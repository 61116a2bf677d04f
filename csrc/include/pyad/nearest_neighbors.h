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
// How: estimates exclude rows, and each row that they cannot exclude is evaluated canonically, so
// that the result is that of the plain search. Two steps, each optional:
//  - contraction.h: rows and queries become images of r + 1 numbers that are never farther apart
//    than their originals (a basis is given: leading principal directions of the bank);
//  - the screen: ||q||^2 + ||b||^2 - 2 q.b of the images, as a matrix product. In float32
//    (packed_rows.h) its distance from the canonical value is at most (1.125 D + 32) 2^-24
//    (||q||^2 + ||b||^2) (Higham, "Accuracy and Stability of Numerical Algorithms", section 3.1,
//    and the centring, norms and canonical sum bounded the same way). In int8 or bfloat16
//    (quantized_rows.h) actual residual norms are the bound.
// Values beyond 1e15 (1e12 in few bits) skip both and are searched canonically.
//
// Limits: finite values (the caller checks; NaN or infinity gives undefined neighbours). Beyond
// D = 2^17 the screen is skipped; int8 serves up to 1,024 (screened) numbers, bfloat16 8,192.
// A distance that overflows float32 is +infinity and takes part in the ordering as such.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "pyad/contraction.h"
#include "pyad/packed_rows.h"
#include "pyad/quantized_rows.h"

namespace pyad {

struct ScreenKernels;
class TiledRows;

float canonical_distance(const float* a, const float* b, int64_t D);

// True where all n values are finite.
bool all_finite(const float* values, int64_t n);

enum class Screen { automatic, float32, bfloat16, int8 };

// What `wanted` means at the level in use for rows of D numbers. Throws std::invalid_argument where
// there is no such screen.
Screen chosen_screen(Screen wanted, int64_t D);

struct SearchOptions {
    Screen screen = Screen::automatic;  // automatic: int8 where the CPU has it, else float32
    const float* basis = nullptr;       // (D, r) orthonormal columns to contract with, or none
    int64_t basis_dim = 0;              // r
};

// A bank prepared for search; holds its own copies. Safe to search from several threads at once.
class MemoryBank {
  public:
    // The level in use now serves all searches of this bank. Throws std::invalid_argument where it
    // has no such screen, or the basis is not orthonormal.
    MemoryBank(const float* rows, int64_t M, int64_t D, const SearchOptions& options = {});
    ~MemoryBank();

    int64_t size() const { return M_; }
    int64_t dim() const { return D_; }
    int64_t screened_dim() const;  // numbers per row that the screen reads
    Screen screen() const { return screen_; }

    // evaluated: (Q) how many rows were evaluated canonically, or nullptr.
    void search(const float* queries, int64_t Q, int64_t k, float* distances, int64_t* indices,
                int64_t* evaluated = nullptr) const;

    // The same on the calling thread alone; k = 1 as a rule.
    void search_here(const float* queries, int64_t Q, int64_t k, float* distances,
                     int64_t* indices) const;
    const float* row(int64_t m) const { return rows_.data() + m * D_; }
    // The canonical distance of a vector (D) to row m.
    float distance(const float* query, int64_t m) const;

  private:
    void search_block(const float* queries, int64_t Q, int64_t k, float* distances,
                      int64_t* indices, int64_t* evaluated) const;
    template <typename Visit>
    bool screened(const float* queries, int64_t Q, int64_t k, Visit&& visit) const;

    const ScreenKernels* kernels_;
    int64_t M_, D_;
    Screen screen_;
    std::vector<float> rows_;  // (M, D)
    std::unique_ptr<Contraction> contraction_;
    float slack_ = 0.0f;  // the largest of the rows' images
    // One of the two, or none where values are too large.
    std::unique_ptr<PackedRows> packed_;
    std::unique_ptr<QuantizedRows> quantized_;
    const QuantizedKernels* quantized_kernels_ = nullptr;
    std::unique_ptr<TiledRows>
        tiles_;                // of quantized_, where one neighbour has a screen of its own
    std::vector<float> mean_;  // of what is screened in few bits
};

}  // namespace pyad
