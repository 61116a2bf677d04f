#include "cosine_sums_tile.h"
#include "pyad/level.h"

namespace pyad {

const CosineKernels cosine_portable = cosine_of<4>();  // SSE2 or NEON

const CosineKernels& cosine_kernels() {
#ifdef PYAD_X86_LEVELS
    if (active_level() >= Level::avx2) return cosine_avx2;
#endif
    return cosine_portable;
}

}  // namespace pyad
