#include "density_tile.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace pyad {
namespace {

// Four lanes that compilers map to SSE2 or NEON.
struct Portable : DensityLanes<4> {
    static constexpr int width = 4;
    static ints broadcast_pair(const int16_t* pair) {
        int32_t both;
        __builtin_memcpy(&both, pair, sizeof(both));
        return ints{both, both, both, both};
    }
    static ints dot(ints sum, ints a, ints b) {
#if defined(__SSE2__)
        return sum + reinterpret_cast<ints>(_mm_madd_epi16(reinterpret_cast<__m128i>(a),
                                                           reinterpret_cast<__m128i>(b)));
#else
        return sum + ((a << 16) >> 16) * ((b << 16) >> 16) + (a >> 16) * (b >> 16);
#endif
    }
    static floats maximum(floats a, floats b) { return a > b ? a : b; }
    static bool any_above(floats a, float bar) {
        bool above = false;
        for (int i = 0; i < 4; ++i) above |= a[i] > bar;
        return above;
    }
};

}  // namespace

const DensityKernels density_portable = density_of<Portable, 4>();

}  // namespace pyad
