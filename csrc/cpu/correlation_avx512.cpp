#ifdef PYAD_X86_LEVELS
#include "correlation_tile.h"

namespace pyad {

const CorrelationKernels correlation_avx512 = correlation_of<16, 8>();

}  // namespace pyad
#endif
