#ifdef PYAD_X86_LEVELS
#include "avx2.h"
#include "resize_tile.h"

namespace pyad {

const ResizeKernels resize_avx2 = resize_form<Avx2>();

}  // namespace pyad
#endif
