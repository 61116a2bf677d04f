// A linear map along one axis in which every output touches a short run of neighbouring inputs:
// resizing, up-sampling, smoothing, and any product of them.
//
//   y[i] = sum over t < count[i] of weights[i * taps + t] * x[start[i] + t]
//
// The sum runs in this order, in float32, without fused operations. The weights are made in float64
// by pyad_edge/ops/_banded.py. start and start + count never decrease with i.
#pragma once

#include <cstdint>
#include <vector>

namespace pyad {

struct Banded {
    // Throws std::invalid_argument unless every run lies in [0, columns) and holds 1 to taps
    // inputs.
    Banded(int64_t columns, std::vector<int32_t> start, std::vector<int32_t> count,
           std::vector<float> weights);

    int64_t rows;     // outputs
    int64_t columns;  // inputs
    int64_t taps;     // longest run
    bool copies;      // every output is 1 * one input
    std::vector<int32_t> start, count;
    std::vector<float> weights;  // (rows, taps)

    const float* row(int64_t i) const { return weights.data() + i * taps; }
    // Inputs that outputs [begin, end) touch: [first(begin), last(end)).
    int64_t first(int64_t begin) const { return start[begin]; }
    int64_t last(int64_t end) const { return int64_t{start[end - 1]} + count[end - 1]; }
};

}  // namespace pyad
