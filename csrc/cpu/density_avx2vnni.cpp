#ifdef PYAD_AVX_VNNI_LEVEL
#include "density_avx2.h"
#include "density_tile.h"

namespace pyad {

const DensityKernels density_avx2vnni = density_of<DensityAvx2, 6>();

}  // namespace pyad
#endif
