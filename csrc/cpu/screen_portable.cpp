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
    static type smaller(type a, type b) {
        for (int i = 0; i < 4; ++i) a[i] = a[i] < b[i] ? a[i] : b[i];
        return a;
    }
    static type multiply_add(type a, type b, type c) { return a * b + c; }
    // Rounded towards zero and clamped to 0 ... 255; NaN becomes 0.
    static void store_bytes(uint8_t* p, type v) {
        for (int i = 0; i < 4; ++i)
            p[i] = v[i] > 0.0f ? static_cast<uint8_t>(v[i] < 255.0f ? v[i] : 255.0f) : 0;
    }
    // Bit j set where the j-th of 32 bytes is at most `highest`.
    static uint32_t within(const uint8_t* p, uint8_t highest) {
        uint8_t any = 0;
        for (int j = 0; j < 32; ++j) any |= p[j] <= highest;
        if (!any) return 0;  // nearly always; the loop above becomes vector code
        uint32_t mask = 0;
        for (int j = 0; j < 32; ++j) mask |= static_cast<uint32_t>(p[j] <= highest) << j;
        return mask;
    }
    static uint32_t less_equal(type a, type b) {
        uint32_t mask = 0;
        for (int i = 0; i < 4; ++i) mask |= static_cast<uint32_t>(a[i] <= b[i]) << i;
        return mask;
    }
};

}  // namespace

const ScreenKernels screen_portable = screen_of<Portable, 4>(nullptr, nullptr);

}  // namespace pyad
