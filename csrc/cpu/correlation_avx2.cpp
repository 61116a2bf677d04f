#ifdef PYAD_X86_LEVELS
#include "correlation_tile.h"

namespace pyad {

const CorrelationKernels correlation_avx2 = correlation_of<8, 4>();

}  // namespace pyad
#endif
