// The numbers of density_weights that every form shares, on the CPU and on CUDA devices: separate
// multiplications and additions only, so that a device gives the same bits as the portable form.
#pragma once

#include <cstdint>
#include <cstring>

#ifdef __CUDACC__
#define PYAD_ANYWHERE __host__ __device__
#else
#define PYAD_ANYWHERE
#endif

namespace pyad {

constexpr int kDensityUnit = 32512;         // 127 * 256: the fixed-point 1 of a component
constexpr int kDensityRun = 16;             // queue rows of one run, one for each partial sum
constexpr int64_t kDensityPanel = 32;       // queue rows of one panel
constexpr int64_t kDensitySegments = 16;    // at most so many runs of panels, summed separately
constexpr int64_t kDensityMaxDim = 65536;   // up to there no sum leaves int32
constexpr double kDensityMaxBeta = 1000.0;  // beyond, the fixed point would be too coarse
constexpr float kDensityFloor = -125.0f;    // smaller exponents count as this one
constexpr float kDensityCeiling = 32.0f;    // larger exponents raise the reference
constexpr float kRoundingMagic = 0x1.8p+23f;

// 2^f = 1 + f (c0 + f (c1 + ...)) for |f| <= 1/2, relative error 2e-7 in float32.
constexpr float kExp2Coefficient0 = 0x1.62e42ap-1f;
constexpr float kExp2Coefficient1 = 0x1.ebf9bcp-3f;
constexpr float kExp2Coefficient2 = 0x1.c6b752p-5f;
constexpr float kExp2Coefficient3 = 0x1.3cea88p-7f;
constexpr float kExp2Coefficient4 = 0x1.5bba14p-10f;

// How exponents are formed: 2^(scale * (dot - reference)).
struct DensityExponent {
    float scale;  // beta log2(e) / kDensityUnit^2
    // Whether all exponents fit below the reference kDensityUnit^2, the dot product of equal
    // vectors. Otherwise a segment starts with its first dot product and follows the largest.
    bool fixed;
};

namespace {  // every level of the CPU compiles its own copy

PYAD_ANYWHERE inline int32_t density_bits(float x) {
    int32_t bits;
    memcpy(&bits, &x, sizeof(bits));
    return bits;
}

PYAD_ANYWHERE inline float density_float(int32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof(x));
    return x;
}

// a b + c, rounded twice whatever the compiler's flags for the device.
PYAD_ANYWHERE inline float multiply_then_add(float a, float b, float c) {
#ifdef __CUDA_ARCH__
    return __fadd_rn(__fmul_rn(a, b), c);
#else
    return a * b + c;
#endif
}
PYAD_ANYWHERE inline double multiply_then_add(double a, double b, double c) {
#ifdef __CUDA_ARCH__
    return __dadd_rn(__dmul_rn(a, b), c);
#else
    return a * b + c;
#endif
}

// 2^t for kDensityFloor <= t <= kDensityCeiling; smaller t count as the floor.
PYAD_ANYWHERE inline float exp2_of(float t) {
    t = t > kDensityFloor ? t : kDensityFloor;
    const float rounded = t + kRoundingMagic;
    const float f = t - (rounded - kRoundingMagic);
    float p = multiply_then_add(f, kExp2Coefficient4, kExp2Coefficient3);
    p = multiply_then_add(p, f, kExp2Coefficient2);
    p = multiply_then_add(p, f, kExp2Coefficient1);
    p = multiply_then_add(p, f, kExp2Coefficient0);
    p = multiply_then_add(p, f, 1.0f);
    const uint32_t power = static_cast<uint32_t>(density_bits(rounded)) << 23;
    return density_float(static_cast<int32_t>(static_cast<uint32_t>(density_bits(p)) + power));
}

// ln x for normal x > 0, to about 1e-12.
PYAD_ANYWHERE inline double log_of(double x) {
    int64_t bits;
    memcpy(&bits, &x, sizeof(bits));
    // m in [sqrt(1/2), sqrt(2)], x = m 2^exponent
    int64_t exponent = (bits >> 52) - 1023;
    bits = (bits & 0xfffffffffffff) | 0x3ff0000000000000;
    double m;
    memcpy(&m, &bits, sizeof(m));
    if (m > 1.4142135623730951) {
        m *= 0.5;
        ++exponent;
    }
    const double s = (m - 1.0) / (m + 1.0), square = s * s;
    double sum = 1.0 / 15.0;
    for (int odd = 13; odd >= 1; odd -= 2) sum = multiply_then_add(sum, square, 1.0 / odd);
    return multiply_then_add(static_cast<double>(exponent), 0.6931471805599453, 2.0 * s * sum);
}

PYAD_ANYWHERE inline DensityExponent exponent_of(double beta) {
    const double octaves = beta * 1.4426950408889634;
    return {static_cast<float>(octaves / (static_cast<double>(kDensityUnit) * kDensityUnit)),
            2.0 * octaves <= 120.0};
}

// exp2 of a difference of dot products, as every form computes it.
PYAD_ANYWHERE inline float kernel_value(int32_t dot, int32_t reference, float scale) {
    // Wraps around where a row that is not finite was packed.
    const uint32_t difference = static_cast<uint32_t>(dot) - static_cast<uint32_t>(reference);
    return exp2_of(scale * static_cast<float>(static_cast<int32_t>(difference)));
}

// -ln of the whole sum, from the segments' sums in their order.
PYAD_ANYWHERE inline float log_weight(const int32_t* references, const float* sums,
                                      int64_t segments, float scale, double beta) {
    int32_t reference = references[0];
    for (int64_t s = 1; s < segments; ++s)
        reference = references[s] > reference ? references[s] : reference;
    double total = 0.0;
    for (int64_t s = 0; s < segments; ++s) {
        const float factor =
            references[s] == reference ? 1.0f : kernel_value(references[s], reference, scale);
        total = multiply_then_add(static_cast<double>(sums[s]), static_cast<double>(factor), total);
    }
    const double unit = static_cast<double>(kDensityUnit) * kDensityUnit;
    return static_cast<float>(
        -multiply_then_add(beta, static_cast<double>(reference) / unit, log_of(total)));
}

// The factor that makes a row of this squared length kDensityUnit long: applied as
// (x * lift) * inverse, so that lengths near the smallest float32 do not overflow it.
PYAD_ANYWHERE inline void unit_factors(double length, float* lift, float* inverse) {
    *lift = length < 0x1p-60 ? 0x1p+80f : 1.0f;
    *inverse = length > 0.0
                   ? static_cast<float>(kDensityUnit / (length * static_cast<double>(*lift)))
                   : 0.0f;
}

PYAD_ANYWHERE inline int32_t quantized(float x, float lift, float inverse) {
    return density_bits(multiply_then_add(x * lift, inverse, kRoundingMagic)) - 0x4b400000;
}

PYAD_ANYWHERE inline int64_t density_panels(int64_t Q) {
    return (Q + kDensityPanel - 1) / kDensityPanel;
}

// Panels of one segment; the last segment may have fewer.
PYAD_ANYWHERE inline int64_t panels_of_segment(int64_t Q) {
    return (density_panels(Q) + kDensitySegments - 1) / kDensitySegments;
}

}  // namespace
}  // namespace pyad
