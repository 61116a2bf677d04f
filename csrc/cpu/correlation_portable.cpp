#include "correlation_tile.h"
#include "pyad/level.h"

namespace pyad {

const CorrelationKernels correlation_portable = correlation_of<4, 4>();  // SSE2 or NEON

const CorrelationKernels& correlation_kernels() {
#ifdef PYAD_X86_LEVELS
    const Level level = active_level();
    if (level >= Level::avx512) return correlation_avx512;
    if (level >= Level::avx2) return correlation_avx2;
#endif
    return correlation_portable;
}

}  // namespace pyad
