// The inner loops of density_weights, one form per instruction set.
#pragma once

#include <cstdint>

#include "pyad/density_arithmetic.h"

namespace pyad {

constexpr int kMaxDensityHeight = 32;

struct DensityKernels {
    int MR;         // features of one group
    int64_t align;  // components are padded with zeros to a multiple of this
    int64_t block;  // groups that share a pass over the panels, so that both stay in the cache

    // Quantises n rows of D floats, n <= MR or 32, into a group or a panel of as many rows; two
    // bytes a component. The layout is the level's own. False where a value is not finite.
    bool (*pack_group)(const float* rows, int64_t n, int64_t D, int16_t* out);
    bool (*pack_panel)(const float* rows, int64_t n, int64_t D, int16_t* out);

    // Adds the kernel values of `count` groups and of the panels that hold `rows` rows of the
    // queue, panel after panel, to the groups' partial sums.
    //   references (count * MR), lanes (count * MR, 16): the sums, relative to
    //   2^(scale * reference). Where the exponent is not fixed, references are set here.
    void (*sum)(const int16_t* groups, int64_t count, const int16_t* panels, int64_t rows,
                int64_t D, const DensityExponent& exponent, int32_t* references, float* lanes);
};

extern const DensityKernels density_portable;
#ifdef PYAD_X86_LEVELS
extern const DensityKernels density_avx2;
#ifdef PYAD_AVX_VNNI_LEVEL
extern const DensityKernels density_avx2vnni;
#endif
extern const DensityKernels density_avx512;
extern const DensityKernels density_avx512vnni;
#ifdef PYAD_AMX_LEVEL
extern const DensityKernels density_avx512amx;
#endif
#endif

// The kernels of the level in use.
const DensityKernels& density_kernels();

}  // namespace pyad
