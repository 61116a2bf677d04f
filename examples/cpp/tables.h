// The float64 tables behind the kernels, as pyad_edge/ops makes them: resizing, up-sampling and
// smoothing along an axis, the aggregation of feature maps, and the threshold.
#pragma once

#include <cstdint>
#include <vector>

#include "engine.h"
#include "pyad/banded.h"
#include "pyad/patch_aggregation.h"
#include "pyad/preprocess.h"

namespace pyad::example {

// Rows and columns of the preprocessing of a picture (H, W). Throws Error where it does not fit.
struct Axes {
    Banded rows, columns;
};
Axes preprocessing_axes(const Engine& engine, int64_t H, int64_t W);

Normalization normalization(const Engine& engine);

Banded bilinear_upsample(int64_t size, int64_t new_size);
Banded upsample_and_smooth(int64_t size, int64_t new_size, double sigma);

// channels: of each level.
AggregationPlan aggregation_plan(const Engine& engine, const std::vector<int64_t>& channels);

// Scores above it are anomalous: split-conformal, or an exponential tail where the calibration
// pictures are too few for the engine's false-reject rate (pyad_edge/calibration.py).
double threshold(const Engine& engine);

}  // namespace pyad::example
