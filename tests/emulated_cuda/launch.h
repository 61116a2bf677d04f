// Included before each csrc/cuda/*.cu when it is compiled for the host: a launch runs its blocks
// one after another. PYAD_EMULATED_ORDER=descending turns the order of the threads around, so that
// a race shows as a difference between two runs.
#pragma once

#include <cstdlib>
#include <cstring>

#include "block.h"

namespace pyad::cuda {

inline bool descending_threads() {
    const char* order = std::getenv("PYAD_EMULATED_ORDER");
    return order != nullptr && std::strcmp(order, "descending") == 0;
}

template <typename Program>
void launch(const char*, const Program& program, Grid grid, void*) {
    if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
    run_on_host(program, grid, descending_threads());
}

}  // namespace pyad::cuda
