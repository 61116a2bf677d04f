#ifdef PYAD_X86_LEVELS
#include "weighted_sum_tile.h"

namespace pyad {

const LinearKernels linear_avx2 = linear_of<8>();

}  // namespace pyad
#endif
