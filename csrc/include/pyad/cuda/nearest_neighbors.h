// CUDA form of nearest_neighbors: the same bits as on the CPU (pyad/nearest_neighbors.h).
//
//   queries    (Q, D) float32        bank     (M, D) float32, M >= k >= 1
//   distances  (Q, k) float32        indices  (Q, k) int64
//
// Forms. `exact` evaluates the canonical distance of every pair. The others screen on the tensor
// cores first, in halves or in 8 bits, with a bound on the error of the screen (csrc/cuda/
// search_rows.cuh derives it), and evaluate canonically what the bound cannot exclude: `fused`
// tests the estimates in the tile that made them, `gemm` writes them to memory and reduces them.
// Where more than 512 rows of a query remain, that query takes the exact path, on the device as
// well.
//
// A query with a value that is not finite gives NaN and -1, and does not disturb the others.
//
// Limits: k <= 16; M < 2^31 - 128; values beyond 1e12 or D > 2^15 take the exact path. The bank has
// to be finite.
//
// Nothing here waits for the device but the constructor of MemoryBank. Work that uses a bank has to
// be over before the bank is destroyed. Failures throw std::runtime_error; a bank that is used
// while another device is the current one throws std::invalid_argument.
#pragma once

#include <cstddef>
#include <cstdint>

namespace pyad::cuda {

enum class SearchForm { exact, half_fused, half_gemm, bytes_fused, bytes_gemm };

// A bank prepared for search, on the device that is the current one when it is made.
class MemoryBank {
  public:
    // Copies rows (M, D) from device memory; keeps the half copy, and the 8-bit one if `bytes`.
    MemoryBank(const float* rows, int64_t M, int64_t D, bool bytes, void* stream);
    ~MemoryBank();
    MemoryBank(const MemoryBank&) = delete;
    MemoryBank& operator=(const MemoryBank&) = delete;

    int64_t size() const { return M_; }
    int64_t dim() const { return D_; }
    // False where a row's value is beyond the limit: every search is exact then.
    bool screened() const { return screened_; }
    bool has_bytes() const { return bytes_ != nullptr; }

    // The form that the table of measurements names for Q queries on this device.
    SearchForm choose(int64_t Q) const;
    // Device bytes that search needs; the same call may serve fewer queries as well.
    size_t workspace_size(int64_t Q, int64_t k, SearchForm form) const;
    // All pointers are device memory, the workspace 16-byte aligned. Enqueued on the stream.
    void search(const float* queries, int64_t Q, int64_t k, SearchForm form, void* workspace,
                float* distances, int64_t* indices, void* stream) const;

  private:
    void require_device() const;

    int64_t M_, D_;
    int device_;
    int capability_;
    bool screened_ = false;
    void* memory_ = nullptr;  // one allocation for all below
    float* rows_ = nullptr;
    float* mean_ = nullptr;
    void* half_ = nullptr;
    void* half_terms_ = nullptr;
    void* bytes_ = nullptr;
    void* bytes_terms_ = nullptr;
};

}  // namespace pyad::cuda
