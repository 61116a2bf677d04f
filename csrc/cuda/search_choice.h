// Which form of the search runs, by compute capability and size. Written by
// benchmarks/cuda_search_choice.py from measurements; a line that no device has measured says so.
#pragma once

#include <cstdint>

#include "pyad/cuda/nearest_neighbors.h"

namespace pyad::cuda {

struct SearchChoice {
    int capability;   // from this compute capability (major * 10 + minor) on
    int64_t size;     // and from this many multiply-adds, Q M D, on
    SearchForm form;  // this form, until a later line fits as well
};

// Ascending in capability, then in size.
constexpr SearchChoice kSearchChoices[] = {
    // Not measured: small searches are launches of one kernel; everywhere else halves, tested in
    // the tile, move the least memory among the forms whose bound is tight.
    {0, 0, SearchForm::exact},
    {0, int64_t{1} << 24, SearchForm::half_fused},
};

// The last line that fits.
constexpr SearchForm choose_search(int capability, int64_t Q, int64_t M, int64_t D) {
    SearchForm form = SearchForm::exact;
    for (const SearchChoice& choice : kSearchChoices)
        if (capability >= choice.capability && Q * M * D >= choice.size) form = choice.form;
    return form;
}

}  // namespace pyad::cuda
