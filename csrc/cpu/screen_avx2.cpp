#ifdef PYAD_X86_LEVELS
#include "avx2.h"
#include "screen_tile.h"

namespace pyad {

const ScreenKernels screen_avx2 = screen_of<Avx2, 6>(nullptr, nullptr);

}  // namespace pyad
#endif
