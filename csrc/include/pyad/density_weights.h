// The density weights of GRAD (Dai et al. 2024), equations 1 and 2, as logarithms:
//
//   features     (q, D) float32     queue  (Q, D) float32, Q >= 1     beta > 0
//   log_weights  (q) float32
//
//   log_weights[i] = -ln Sum_j exp(beta cos(features[i], queue[j]))
//
// Equation 1 is negative features against the queue of positive ones, equation 2 each class against
// its own. The logarithm does not overflow for any beta, and equations 3 and 4 need no more: the
// normalised weights are the softmax of ln w^tail + ln w^noisy. The cosine with a row of zeros is
// 0. No (q, Q) array is held: memory is a 16-bit copy of both inputs and at most 16 partial sums a
// feature.
//
// Fixed point. Every row is brought to unit length and rounded to multiples of 1 / 32512
// (kDensityUnit), so that dot products are sums of products of 16-bit integers: they are exact in
// int32 (Cauchy-Schwarz keeps every partial sum in range) in whatever order they are added. This
// serves two ends: every instruction set, thread count, batch split and device gives the same bits
// without a prescribed order of D additions, and integer units are at least twice as fast as float
// ones. The price: a cosine is off by at most sqrt(D) / 32512, typically by 1.3e-5 (a rounding
// error of 1 / (32512 sqrt(12)) per component, twice); log_weights by beta times that at most, and
// less in practice, since the sum averages. What these weights serve, an emphasis of training
// patches, does not see it.
//
// The order of the rest. A feature has sixteen partial sums, the l-th over queue rows j = l mod 16
// in order of j, added in halves (l with l + 8, l + 4, l + 2, l + 1). The queue is cut into at most
// 16 segments of whole panels of 32 rows; each has sums of its own, added in order in float64.
// Exponents are relative to a reference: the dot product of equal vectors where
// 2 beta log2(e) <= 120; beyond, the first of the segment, raised to the largest of a run of
// sixteen rows when one of them exceeds it by more than 2^32. No fused operations.
//
// Limits: D <= 65536, beta <= 1000. Exponents more than 125
// octaves below the reference count as 2^-125.
#pragma once

#include <cstdint>

namespace pyad {

// Returns whether all values are finite; if not, log_weights are undefined. (Found on the way, in
// the rows' lengths.) All pieces of the work run, whatever they find.
bool density_weights(const float* features, int64_t q, const float* queue, int64_t Q, int64_t D,
                     double beta, float* log_weights);

}  // namespace pyad
