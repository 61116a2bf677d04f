#ifdef PYAD_ARM_LEVELS
#include "neon.h"

namespace pyad {

const ScreenKernels screen_neon = screen_of<Neon, kNeonHeight>(nullptr, nullptr);

}  // namespace pyad
#endif
