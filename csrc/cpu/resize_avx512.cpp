#ifdef PYAD_X86_LEVELS
#include "avx512.h"
#include "resize_tile.h"

namespace pyad {

const ResizeKernels resize_avx512 = resize_form<Avx512>();

}  // namespace pyad
#endif
