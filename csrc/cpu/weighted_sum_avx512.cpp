#ifdef PYAD_X86_LEVELS
#include "weighted_sum_tile.h"

namespace pyad {

const LinearKernels linear_avx512 = linear_of<16>();

}  // namespace pyad
#endif
