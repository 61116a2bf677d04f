#ifdef PYAD_X86_LEVELS
#include "density_avx2.h"

#include "density_tile.h"

namespace pyad {

const DensityKernels density_avx2 = density_of<DensityAvx2, 6>();

}  // namespace pyad
#endif
