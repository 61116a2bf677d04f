#include "bytes.h"

#include <cmath>
#include <cstdio>
#include <limits>
#include <stdexcept>

namespace fuzz {
namespace {

using Float = std::numeric_limits<float>;

constexpr float kNumbers[] = {0.0f,        -0.0f,   1.0f,         -1.0f,          0.5f,
                              255.0f,      1e-45f,  -1e-45f,      1e-40f,         1e-38f,
                              1e-20f,      -1e-20f, 1e12f,        2e12f,          1e15f,
                              2e15f,       1e19f,   -1e19f,       1e25f,          Float::epsilon(),
                              16777216.0f, -3e38f,  Float::max(), Float::lowest()};
constexpr float kNoNumbers[] = {Float::quiet_NaN(), Float::infinity(), -Float::infinity()};

constexpr int64_t kHostile[] = {0,
                                -1,
                                1,
                                -2,
                                127,
                                -128,
                                65535,
                                65536,
                                65537,
                                (1 << 24) - 1,
                                1 << 24,
                                INT32_MAX - 1,
                                INT32_MAX,
                                INT32_MIN,
                                int64_t{INT32_MAX} + 1,
                                int64_t{1} << 32,
                                -(int64_t{1} << 32),
                                (int64_t{1} << 32) + 1,
                                int64_t{1} << 53,
                                int64_t{1} << 61,
                                int64_t{1} << 62,
                                INT64_MAX - 1,
                                INT64_MAX,
                                INT64_MIN,
                                INT64_MIN + 1};

template <typename T, size_t n>
T one_of(const T (&values)[n], Bytes& bytes) {
    return values[bytes.below(static_cast<int64_t>(n))];
}

}  // namespace

Broken::Broken(const std::string& what) { std::fprintf(stderr, "broken: %s\n", what.c_str()); }

void require(bool right, const char* what) {
    if (!right) throw std::invalid_argument(what);
}

Bytes::Bytes(const uint8_t* data, size_t size) : at_(data), end_(data + size) {
    state_ = 0xCBF29CE484222325u;  // FNV-1a
    for (size_t i = 0; i < size; ++i) state_ = (state_ ^ data[i]) * 0x100000001B3u;
}

// splitmix64
uint64_t Bytes::generated() {
    uint64_t z = (state_ += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

uint64_t Bytes::bits(int bytes) {
    if (end_ - at_ < bytes) {
        at_ = end_;
        return generated() >> (64 - 8 * bytes);
    }
    uint64_t out = 0;
    for (int i = 0; i < bytes; ++i) out |= static_cast<uint64_t>(*at_++) << (8 * i);
    return out;
}

int64_t Bytes::below(int64_t n) {
    const int bytes = n <= 256 ? 1 : n <= 65536 ? 2 : 8;
    return static_cast<int64_t>(bits(bytes) % static_cast<uint64_t>(n));
}

int64_t Bytes::size(int64_t low, int64_t high) {
    int64_t found;
    switch (below(8)) {
        case 0:
            found = within(low, high);
            break;
        case 1:  // around multiples of 16
            found = 16 * below(high / 16 + 1) + within(-1, 1);
            break;
        default:
            found = low + below(12);
    }
    return found < low ? low : found > high ? high : found;
}

int64_t Bytes::hostile() {
    switch (below(4)) {
        case 0:
            return within(-9, 9);
        case 1:
            return static_cast<int64_t>(bits(8));
        default:
            return one_of(kHostile, *this);
    }
}

float Bytes::number() {
    switch (below(4)) {
        case 0:
            return one_of(kNoNumbers, *this);
        case 1: {
            const uint32_t word = static_cast<uint32_t>(bits(4));
            float value;
            std::memcpy(&value, &word, sizeof(value));
            return value;
        }
        default:
            return finite();
    }
}

float Bytes::finite() {
    if (below(2)) return one_of(kNumbers, *this);
    return static_cast<float>(static_cast<int16_t>(bits(2))) * 0x1p-12f;
}

Exact<float> Bytes::floats(int64_t n, bool all_finite) {
    Exact<float> out(n, below(16));
    const int64_t style = below(8), distinct = 1 + below(5);
    const float scale = style == 6 ? std::fabs(finite()) : 1.0f;
    for (int64_t i = 0; i < n; ++i) {
        if (style == 0) {  // read from the input
            out[i] = all_finite ? finite() : number();
        } else if (style == 1) {  // ties
            out[i] = static_cast<float>(generated() % static_cast<uint64_t>(distinct));
        } else if (style == 2) {  // few values, equal rows
            out[i] = i < distinct ? finite() : out[i - distinct];
        } else if (style == 3 && generated() % 8 == 0) {
            out[i] = kNumbers[generated() % (sizeof(kNumbers) / sizeof(float))];
        } else if (style == 4 && !all_finite && generated() % 16 == 0) {
            out[i] = kNoNumbers[generated() % 3];
        } else {
            out[i] =
                static_cast<float>(static_cast<int32_t>(generated() >> 40) - (1 << 23)) * 0x1p-22f;
            if (style == 5 && out[i] < 0.0f) out[i] = 0.0f;  // as behind a ReLU
            if (style == 6) out[i] *= scale;
            if (all_finite && !std::isfinite(out[i])) out[i] = 0.0f;
        }
        if (all_finite && !std::isfinite(out[i])) out[i] = 1.0f;
    }
    return out;
}

}  // namespace fuzz
