// Arguments that several targets share: maps of an axis, aggregation plans and feature maps that
// fit.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "bytes.h"
#include "pyad/banded.h"
#include "pyad/nearest_neighbors.h"
#include "pyad/patch_aggregation.h"

namespace fuzz {

// Any map that the constructor takes, runs of at most `taps` inputs.
pyad::Banded banded(Bytes& bytes, int64_t rows, int64_t columns, int64_t taps);

// A plan as a caller may give it; one in eight is broken somewhere, and most of those are refused.
pyad::AggregationPlan aggregation_plan(Bytes& bytes);

// Features of N pictures as csrc/bindings/feature_maps.h lets them through: a map of each level
// with the level's channels, level 0 on the grid itself, others on it or brought to it by bilinear
// maps (whose rows mix two inputs at most).
class Features {
  public:
    Features(Bytes& bytes, const pyad::AggregationPlan& plan, int64_t N, int64_t h, int64_t w);

    const std::vector<pyad::FeatureMap>& maps() const { return maps_; }
    int64_t patches() const { return N_ * maps_[0].h * maps_[0].w; }

  private:
    int64_t N_;
    std::vector<Exact<float>> values_;
    std::vector<Exact<uint16_t>> halves_;
    std::vector<std::unique_ptr<pyad::Banded>> axes_;
    std::vector<pyad::FeatureMap> maps_;
};

// A bank of finite rows, which MemoryBank of pyad_edge/ops/nearest_neighbors.py checks with
// all_finite.
std::unique_ptr<pyad::MemoryBank> memory_bank(Bytes& bytes, int64_t M, int64_t D);

// Which patches count; none of size 0 where all do.
std::optional<Exact<uint8_t>> mask(Bytes& bytes, int64_t n);

}  // namespace fuzz
