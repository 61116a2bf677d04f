// Rows of features for the tests, of every kind that has made a search go wrong somewhere.
#pragma once

#include <algorithm>
#include <limits>
#include <vector>

#include "check.h"

namespace check {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

enum class Kind {
    normal,      // around zero
    sparse,      // like a backbone's: not negative, many zeros
    ties,        // a coarse integer grid
    duplicates,  // every row several times
    zeros,       // all zero but a few
    denormal,    // the smallest numbers
    tiny,        // squares underflow
    large,       // past the 8-bit screens
    huge,        // past every screen
    overflow,    // distances beyond float32
    offset,      // far from the origin
    mixed        // magnitudes from 1e-20 to 1e10 in one row
};
constexpr Kind kAllKinds[] = {Kind::normal, Kind::sparse,   Kind::ties,   Kind::duplicates,
                              Kind::zeros,  Kind::denormal, Kind::tiny,   Kind::large,
                              Kind::huge,   Kind::overflow, Kind::offset, Kind::mixed};

struct Rows {
    int64_t n, D;
    std::vector<float> values;  // (n, D)
    const float* data() const { return values.data(); }
    const float* row(int64_t i) const { return values.data() + i * D; }
};

// Rows `order` of `from`.
inline Rows picked(const Rows& from, const std::vector<int64_t>& order) {
    Rows out{static_cast<int64_t>(order.size()), from.D, {}};
    for (const int64_t row : order)
        out.values.insert(out.values.end(), from.row(row), from.row(row) + from.D);
    return out;
}

inline float value_of(Kind kind, Random& random) {
    switch (kind) {
        case Kind::sparse:
            return std::max(0.0f, random.normal());
        case Kind::ties:
            return static_cast<float>(random.below(3));
        case Kind::zeros:
            return random.below(50) == 0 ? random.normal() : 0.0f;
        case Kind::denormal:
            return random.normal() * 0x1p-140f;
        case Kind::tiny:
            return random.normal() * 1e-25f;
        case Kind::large:
            return random.normal() * 1e13f;
        case Kind::huge:
            return random.normal() * 1e17f;
        case Kind::overflow:
            return random.normal() * 1e25f;
        case Kind::offset:
            return 1e4f + random.normal();
        case Kind::mixed: {
            float value = random.normal() * 1e10f;
            for (int64_t i = random.below(31); i > 0; --i) value *= 0.1f;
            return value;
        }
        default:
            return random.normal();
    }
}

inline Rows rows_of(Kind kind, int64_t n, int64_t D, Random& random) {
    Rows out{n, D, std::vector<float>(static_cast<size_t>(n * D))};
    for (float& value : out.values) value = value_of(kind, random);
    if (kind == Kind::duplicates)
        for (int64_t i = 1; i < n; ++i)
            if (i % 4 != 0) std::copy_n(out.row(random.below(i)), D, out.values.data() + i * D);
    return out;
}

// The canonical squared distance of nearest_neighbors.h, as its words say it.
inline float canonical(const float* a, const float* b, int64_t D) {
    float sums[16] = {};
    for (int64_t d = 0; d < D; ++d) {
        const float difference = a[d] - b[d];
        const float square = difference * difference;
        sums[d % 16] = sums[d % 16] + square;
    }
    for (int half = 8; half >= 1; half /= 2)
        for (int l = 0; l < half; ++l) sums[l] = sums[l] + sums[l + half];
    return sums[0];
}

}  // namespace check
