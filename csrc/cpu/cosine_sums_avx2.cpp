#ifdef PYAD_X86_LEVELS
#include "cosine_sums_tile.h"

namespace pyad {

const CosineKernels cosine_avx2 = cosine_of<8>();

}  // namespace pyad
#endif
