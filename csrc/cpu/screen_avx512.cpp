#ifdef PYAD_X86_LEVELS
#include "avx512.h"
#include "screen_tile.h"

namespace pyad {
const ScreenKernels screen_avx512 = screen_of<Avx512, 12>(nullptr, nullptr);

}  // namespace pyad
#endif
