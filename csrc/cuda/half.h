// IEEE half on the host, as its bits: what cuda_fp16.h does on the device.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

namespace pyad::cuda {

inline float decoded_half(uint16_t half) {
    const uint32_t sign = static_cast<uint32_t>(half & 0x8000u) << 16;
    const int exponent = half >> 10 & 31, fraction = half & 1023;
    float magnitude;
    if (exponent == 31)
        magnitude = fraction == 0 ? INFINITY : NAN;
    else if (exponent == 0)
        magnitude = std::ldexp(static_cast<float>(fraction), -24);
    else
        magnitude = std::ldexp(static_cast<float>(fraction + 1024), exponent - 25);
    return sign == 0 ? magnitude : -magnitude;
}

inline float host_float_of_half(uint16_t half) {
    static const std::vector<float> all = [] {
        std::vector<float> values(65536);
        for (int i = 0; i < 65536; ++i) values[i] = decoded_half(static_cast<uint16_t>(i));
        return values;
    }();
    return all[half];
}

inline uint16_t host_half_of(float value) {
    const uint16_t sign = std::signbit(value) ? 0x8000 : 0;
    const float magnitude = std::fabs(value);
    if (std::isnan(value)) return sign | 0x7fff;
    if (magnitude >= 65520.0f) return sign | 0x7c00;  // the middle of 65504 and 65536 rounds up
    if (magnitude == 0.0f) return sign;
    int exponent;
    std::frexp(magnitude, &exponent);  // magnitude = m 2^exponent, 0.5 <= m < 1
    const int unit = exponent - 11 < -24 ? -24 : exponent - 11;
    // Scaling by a power of two is exact, so nearbyint alone rounds, to nearest even.
    const int steps = static_cast<int>(std::nearbyint(std::ldexp(magnitude, -unit)));
    // steps <= 2048; the sum of the fields carries into the exponent where it is 2048.
    if (unit == -24) return static_cast<uint16_t>(sign + steps);
    return static_cast<uint16_t>(sign + ((unit + 25) << 10) + (steps - 1024));
}

// Towards zero, as tensor cores round their sums.
inline float truncated_to_float(double value) {
    float nearest = static_cast<float>(value);
    if (std::fabs(static_cast<double>(nearest)) > std::fabs(value))
        nearest = std::nextafterf(nearest, 0.0f);
    return nearest;
}

}  // namespace pyad::cuda
