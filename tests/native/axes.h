// Banded maps for the tests, made in float64 with nothing but + - * /: the same on every machine.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "check.h"
#include "pyad/banded.h"

namespace check {

// Weights of `dense` (rows, columns), each row's run from its first to its last non-zero value.
inline pyad::Banded banded_of(const std::vector<double>& dense, int64_t rows, int64_t columns) {
    std::vector<int32_t> start, count;
    for (int64_t i = 0; i < rows; ++i) {
        int64_t first = 0, last = columns;
        while (dense[i * columns + first] == 0.0) ++first;
        while (dense[i * columns + last - 1] == 0.0) --last;
        start.push_back(static_cast<int32_t>(first));
        count.push_back(static_cast<int32_t>(last - first));
    }
    const int64_t taps = *std::max_element(count.begin(), count.end());
    std::vector<float> weights(static_cast<size_t>(rows * taps), 0.0f);
    for (int64_t i = 0; i < rows; ++i)
        for (int64_t t = 0; t < count[i]; ++t)
            weights[i * taps + t] = static_cast<float>(dense[i * columns + start[i] + t]);
    return pyad::Banded(columns, start, count, weights);
}

// A triangle of half-width max(1, size / new_size) * spread at each output's half-pixel centre,
// normalised: resizing; with spread > 1 also smoothing.
inline pyad::Banded triangles(int64_t size, int64_t new_size, double spread = 1.0) {
    const double scale = static_cast<double>(size) / static_cast<double>(new_size);
    const double width = std::max(1.0, scale) * spread;
    std::vector<double> dense(static_cast<size_t>(size * new_size), 0.0);
    for (int64_t i = 0; i < new_size; ++i) {
        const double centre = scale * (static_cast<double>(i) + 0.5);
        double sum = 0.0;
        for (int64_t j = 0; j < size; ++j) {
            const double distance = std::fabs(static_cast<double>(j) + 0.5 - centre);
            dense[i * size + j] = std::max(0.0, 1.0 - distance / width);
            sum += dense[i * size + j];
        }
        for (int64_t j = 0; j < size; ++j) dense[i * size + j] /= sum;
    }
    return banded_of(dense, new_size, size);
}

// Bilinear up-sampling (half-pixel centres, clamped): at most two taps.
inline pyad::Banded bilinear(int64_t size, int64_t new_size) {
    std::vector<double> dense(static_cast<size_t>(size * new_size), 0.0);
    for (int64_t i = 0; i < new_size; ++i) {
        const double scale = static_cast<double>(size) / static_cast<double>(new_size);
        const double at = std::max(0.0, scale * (static_cast<double>(i) + 0.5) - 0.5);
        const int64_t first = std::min(static_cast<int64_t>(at), size - 1);
        const double fraction = first == size - 1 ? 0.0 : at - static_cast<double>(first);
        dense[i * size + first] += 1.0 - fraction;
        if (fraction > 0.0) dense[i * size + first + 1] += fraction;
    }
    return banded_of(dense, new_size, size);
}

// y[i] in float64 with the map's float32 weights.
template <typename X>
double apply(const pyad::Banded& map, int64_t i, X&& x) {
    double sum = 0.0;
    for (int64_t t = 0; t < map.count[i]; ++t)
        sum += static_cast<double>(map.row(i)[t]) * static_cast<double>(x(map.start[i] + t));
    return sum;
}

}  // namespace check
