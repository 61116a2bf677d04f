// The tables of a Banded in host memory, for the block programs that the tests run on the host.
#pragma once

#include <vector>

#include "pyad/cuda/banded.h"

namespace check {

class HostTables {
  public:
    explicit HostTables(const pyad::Banded& map)
        : map_(map), memory_(pyad::cuda::packed_bytes(map)) {
        pyad::cuda::pack(map, memory_.data());
    }
    pyad::cuda::BandedView view() const { return pyad::cuda::view_of(map_, memory_.data()); }
    const void* memory() const { return memory_.data(); }

  private:
    const pyad::Banded& map_;
    std::vector<unsigned char> memory_;
};

}  // namespace check
