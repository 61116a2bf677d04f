// Pairs of feature maps (encoder and decoder, teacher and student) to one map of their cosine
// distances, its maximum and its mean.
//
//   d_k[n, y, x]  = 1 - <a, b> / (max(|a|, eps) max(|b|, eps)),  a = a_k[n, :, y, x], b likewise,
//                   eps = 1e-8
//   s_l[n]        = sum over the pairs k of level l of weight_k * d_k[n]
//   maps[n]       = sum over l of rows_l * s_l[n] * columns_l^T
//   maxima[n], means[n] = maximum and mean over y, x of maps[n, y, x]
//
// a_k, b_k    (N, C_k, h_l, w_l) float32, either layout below
// rows_l      (H, h_l) and columns_l (W, w_l): bilinear up-sampling followed by a Gaussian, folded
//             into one map per axis by pyad_edge/ops/_banded.py
// maps        (N, H, W), maxima (N,), means (N,) float32
//
// Source: ReContrast (Guo et al., 2023), eq. 1 and sections 2.1 and 2.5: the sum of the up-sampled
// distance maps of three (RD4AD) or six pairs; the Gaussian, of sigma 4, and the mean of ISIC-like
// tasks are those of its public code. The distance is one minus
// torch.nn.functional.cosine_similarity. A zero vector has no direction: its dot products are zero
// and its distance to anything is 1, to another zero vector too. Distances of equal vectors are
// zero up to rounding, and may be a few 1e-7 below it.
//
// Orders, all without fused operations. Channels: groups of eight as a tree (l and l + 4, l + 2,
// l + 1), missing channels being zeros, groups in order from zero. Pairs in order from zero,
// columns before rows, taps in order, levels in order. Mean: sixteen sums along a row (element x
// goes to x % 16) and a tree (l and l + 8, 4, 2, 1) in float32, the same over the rows in float64.
// So results do not depend on threads, batch size, memory layout or instruction set.
//
// Limits: |a|^2 and |b|^2 below 3.4e38. A location where they are not (or which holds a NaN or an
// infinity) makes its distance NaN and is reported; the outputs of such a call mean nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "pyad/banded.h"

namespace pyad {

struct FeaturePair {
    const float *a, *b;          // (C, h, w) of the first picture; (h, w, C) if channels_last
    int64_t stride_a, stride_b;  // floats from one picture to the next
    int64_t C;
    bool channels_last;
    float weight;
    int64_t level;
};

struct MapLevel {
    const Banded *rows, *columns;
};

// A location that breaks the limits.
struct FeatureLocation {
    int64_t pair, n, y, x;
};

// N >= 1, and every level has a pair.
//
// The first location, by pair and picture, that breaks the limits; none as a rule.
std::optional<FeatureLocation> cosine_distance_map(const std::vector<FeaturePair>& pairs,
                                                   const std::vector<MapLevel>& levels, int64_t N,
                                                   float* maps, float* maxima, float* means);

}  // namespace pyad
