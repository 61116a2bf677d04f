// How far each patch's attention is from a Gaussian around the patch: row-wise symmetric KL
// divergence between softmax attention and a separable target, without an L x L tensor.
//
//   S_ij = exp(scale q_i.k_j) / sum over j' of exp(scale q_i.k_j')
//   T_ij = X_i(x_j) Y_i(y_j),   X_i(x) ~ exp(-(x - x_i)^2 / (2 sigma_x_i^2)), sums to 1 over the
//          grid's columns; Y_i likewise over its rows
//   per_head[n, m, i] = KL(S || T) + KL(T || S)
//                     = sum over j of (S_ij - T_ij) log((S_ij + eps) / (T_ij + eps)), eps = 1e-4
//   divergence[n, i]  = mean of per_head over the heads m
//
// queries            (N, heads, L, d) float32, L = h w patches, row by row: y_j = j / w, x_j = j %
// w keys               (N, heads, L, d), or (heads, L, d) shared by all pictures sigma_x, sigma_y
// (N, heads, L) float32, in patches, positive per_head           (N, heads, L) float32 divergence
// (N, L) float32
//
// Source: FOD (Yao et al., 2023), eqs. 4-6 and 9; eps inside the logarithms and the mean over heads
// as in its code. Intra-correlation: keys of the same picture; inter-correlation: the constant keys
// of the reference. The anomaly score takes this value averaged over the layers.
//
// How: a few rows at a time. Their logits are computed once and live in a scratch of O(L) a thread;
// maximum, sum and divergence are read off them. The target is never exponentiated per pair: a row
// needs w + h values.
//
// Order, without fused operations: q_i.k_j over d from zero; 2^(log2(e) scale (q_i.k_j - maximum))
// and log((S + eps) / (T + eps)) as in vector_math.h (0 below 2^-60, one division); all sums over
// j, x and y as sixteen partial sums, the l-th over j = l, l + 16, ..., then added in halves (l
// with l + 8, l + 4, l + 2, l + 1); heads in order. Every instruction set, thread count, batch size
// and device gives the same bits. Against float64 the error is that of the logits: about 2^-24 d
// scale |q||k| relative to each exp.
//
// Limits: finite values, sigmas in (0, inf), scale > 0, L < 2^24. Where a dot product of a patch
// overflows to +infinity, or all do to -infinity, its divergence is NaN; so it is where an input is
// NaN. (Beside a finite one, -infinity is the attention of 0 that it stands for.)
#pragma once

#include <cstdint>

namespace pyad {

constexpr float kCorrelationEps = 1e-4f;
constexpr int64_t kCorrelationLimit = 1 << 24;  // patches: a coordinate is exact in float32

struct CorrelationShape {
    int64_t N, heads, h, w, d;
    bool shared_keys;

    int64_t L() const { return h * w; }
};

// Floats of the caller's scratch, which holds the keys in the order of the matrix product.
int64_t correlation_scratch(const CorrelationShape& shape);

void correlation_divergence(const CorrelationShape& shape, const float* queries, const float* keys,
                            const float* sigma_x, const float* sigma_y, float scale, float* scratch,
                            float* per_head, float* divergence);

}  // namespace pyad
