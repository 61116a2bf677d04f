#include "pyad/level.h"
#include "weighted_sum_tile.h"

namespace pyad {

const LinearKernels linear_portable = linear_of<4>();  // SSE2 or NEON

const LinearKernels& linear_kernels() {
#ifdef PYAD_X86_LEVELS
    const Level level = active_level();
    if (level >= Level::avx512) return linear_avx512;
    if (level >= Level::avx2) return linear_avx2;
#endif
    return linear_portable;
}

}  // namespace pyad
