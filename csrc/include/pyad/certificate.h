// Certifies patches: which of a picture's patches have a bank row within a given distance?
//
//   patches    (h, w, D) float32                 rows (M, D) float32, the memory bank
//   distances  (h, w) float32: canonical squared distance (nearest_neighbors.h) to the nearest of
//              the rows that were evaluated for this patch; what the caller put there if none was
//
// A canonical distance to any row bounds that to the nearest row from above, so distances[q] <= bar
// proves what a full search would have found: a nearest neighbour at most `bar` away. A patch that
// stays above the bar is open; it needs the search. Which rows are looked at, and in what order,
// decides only how many stay open, hence the time.
//
// The order is the plan's: patches come in cells, neighbours on the patch grid, and rows in panels
// of 32 that come from neighbouring positions of the training pictures. A cell walks its list of
// panels, the nearest first. A tile of the screen (float32 or int8, quantized_rows.h) estimates
// all its distances, the most promising row of each open patch that may lie within the bar is
// evaluated canonically, and the walk ends as soon as no patch of the cell is open.
//
// The evaluated rows depend on the CPU level, and so do distances; that distances[q] <= bar is a
// proof does not. Patches and rows beyond the screen's limits stay open.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "pyad/nearest_neighbors.h"

namespace pyad {

struct CertificatePlan {
    int64_t h, w;                 // the patch grid, at most 65536 a side
    int64_t strips, columns;      // cells: strip i has rows [i h / strips, (i + 1) h / strips)
    std::vector<int64_t> order;   // (M) rows, 32 after 32 a panel
    std::vector<int64_t> panels;  // (strips, columns, walk) panels of each cell
};

class Certificate {
  public:
    // bank must outlive this. The level in use now serves all calls. Throws std::invalid_argument
    // where the plan is not what its comments say.
    Certificate(const MemoryBank& bank, CertificatePlan plan);

    const MemoryBank& bank() const { return bank_; }
    int64_t h() const { return plan_.h; }
    int64_t w() const { return plan_.w; }
    int64_t strips() const { return plan_.strips; }
    int64_t strip_begin(int64_t strip) const { return strip * plan_.h / plan_.strips; }
    // False where the bank's values are beyond the screen: everything stays open.
    bool usable() const { return packed_ || quantized_; }

    // The cells of strips [begin, end), on the calling thread. Patches whose distance is within the
    // bar already are left alone, and those where it is NaN: a patch that is not finite must come
    // with that. patches: of the whole picture. bar: finite.
    void certify(int64_t begin, int64_t end, const float* patches, float bar,
                 float* distances) const;

  private:
    template <typename Queries, typename Tile>
    void walk(int64_t cell, const float* patches, const std::vector<int64_t>& members, float bar,
              const Queries& queries, Tile&& tile, float* distances) const;

    const ScreenKernels* kernels_;
    const MemoryBank& bank_;
    CertificatePlan plan_;
    int64_t walk_;  // panels of a cell
    std::unique_ptr<PackedRows> packed_;
    std::unique_ptr<QuantizedRows> quantized_;
    std::vector<float> mean_;
};

}  // namespace pyad
