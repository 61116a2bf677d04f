#ifdef PYAD_X86_LEVELS
#include "density_avx512.h"
#include "density_tile.h"

namespace pyad {

const DensityKernels density_avx512vnni = density_of<DensityAvx512, 12>();

}  // namespace pyad
#endif
