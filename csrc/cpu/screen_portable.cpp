#include "screen_tile.h"

namespace pyad {
namespace {

// Four floats that compilers map to SSE2 or NEON.
struct Portable {
    static constexpr int width = 4;
    typedef float type __attribute__((vector_size(16)));
    static type zero() { return type{0, 0, 0, 0}; }
    static type load(const float* p) { return type{p[0], p[1], p[2], p[3]}; }
    static void store(float* p, type v) {
        for (int i = 0; i < 4; ++i) p[i] = v[i];
    }
    static type broadcast(float x) { return type{x, x, x, x}; }
    static type add(type a, type b) { return a + b; }
    static type subtract(type a, type b) { return a - b; }
    static type multiply(type a, type b) { return a * b; }
    static type multiply_add(type a, type b, type c) { return a * b + c; }
    static uint32_t less_equal(type a, type b) {
        uint32_t mask = 0;
        for (int i = 0; i < 4; ++i) mask |= static_cast<uint32_t>(a[i] <= b[i]) << i;
        return mask;
    }
};

}  // namespace

const ScreenKernels screen_portable{4, tile_of<Portable, 4>, canonical_of<Portable>, nullptr,
                                    nullptr};

}  // namespace pyad
