#include "pyad/banded.h"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

namespace pyad {

Banded::Banded(int64_t columns_, std::vector<int32_t> start_, std::vector<int32_t> count_,
               std::vector<float> weights_)
    : rows(static_cast<int64_t>(start_.size())),
      columns(columns_),
      taps(rows ? static_cast<int64_t>(weights_.size()) / rows : 0),
      copies(true),
      start(std::move(start_)),
      count(std::move(count_)),
      weights(std::move(weights_)) {
    const auto refuse = [](const std::string& what) {
        throw std::invalid_argument("[Banded] expected " + what + ".");
    };
    if (rows == 0 || static_cast<int64_t>(count.size()) != rows ||
        static_cast<int64_t>(weights.size()) != rows * taps)
        refuse("at least one row and one start, count and row of weights for each");
    // In 64 bits: a start next to 2^31 must not pass as a negative end.
    const auto end = [&](int64_t i) { return int64_t{start[i]} + count[i]; };
    for (int64_t i = 0; i < rows; ++i) {
        if (start[i] < 0 || count[i] < 1 || count[i] > taps || end(i) > columns)
            refuse("row " + std::to_string(i) + " to touch 1 to " + std::to_string(taps) + " of " +
                   std::to_string(columns) + " columns");
        if (i > 0 && (start[i] < start[i - 1] || end(i) < end(i - 1)))
            refuse("runs that never move back, but row " + std::to_string(i) + " does");
        copies = copies && count[i] == 1 && row(i)[0] == 1.0f;
    }
}

}  // namespace pyad
