// Convolutional networks in float32: convolutions with what follows them, pools and sums, planned
// once for a batch size and then run without allocating.
//
//   y[n, k, i, j] = act(bias[k] + sum over c, p, q of weights[k, c, p, q] *
//                       x[n, c, i * stride_y + p - top, j * stride_x + q - left] + residual[n, k,
//                       i, j])
//   act(v)        = min(high, max(low, v));  x is zero outside the picture
//
// x (N, C, H, W), weights (K, C, P, Q), bias (K), y and residual (N, K, h, w), all float32,
//   h = (H + top + bottom - P) / stride_y + 1, rounded down, and w likewise.
//
// Forms. `direct`: the sums as they stand, one multiply-add per product. `winograd`: F(4x4, 3x3) of
// Lavin and Gray (2015), for 3 by 3 windows at stride 1: tiles of 4 by 4 outputs take 36
// multiplications in place of 144, so that a convolution takes less than a processor's multiply-add
// peak allows the direct form. Weights are transformed in float64 when the network is made.
//
// bf16. Factors are rounded to bfloat16 (8 bits), products and all else stay float32, as do
// pictures between steps. Twice as many products an instruction; the Winograd form is F(2x2, 3x3),
// because larger tiles would make six times as much of that rounding. An input in
// planes whose windows are an odd number of pixels apart is multiplied in float32.
//
// Rounding. The direct form is within (C P Q + 2) 2^-24 of an output's |bias| + sum |w| |x|; the
// Winograd form, whose transforms add values up to a hundred times larger, is held to 2^-18 of the
// picture's largest such sum by the tests. In bf16 2^-8 more of an output's sum of |w| |x| in the
// direct form, 2^-7 of the picture's largest in the other.
//
// Orders are fixed per output: results do not depend on threads, batch size, neighbours in the
// batch, or on how work is cut. Levels with fused multiply-add (AVX2, AVX-512) use it, others have
// none: bits may differ between instruction sets, unlike in the other kernels.
//
// A NaN reaches every output whose window holds it; in the Winograd form all of the tile, and where
// planes are multiplied in bf16 perhaps a window beside it. An infinity makes infinities or NaN
// there.
//
// Limits: |x| below 1e34, else the Winograd form may overflow; 1 <= C, H, W, K <= 65536, windows up
// to 64 by 64, strides 1 to 16, paddings less than the window; one picture of a tensor has less
// than 2^31 values.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "pyad/aligned.h"

namespace pyad {

struct ConvolutionKernels;

// Windows of a convolution or a pool.
struct Windows {
    int64_t height, width;
    int64_t stride_y = 1, stride_x = 1;
    int64_t top = 0, left = 0, bottom = 0, right = 0;
};

struct Clip {
    float low = -std::numeric_limits<float>::infinity();
    float high = std::numeric_limits<float>::infinity();
};

enum class ConvolutionForm { automatic, direct, winograd };

struct TensorShape {
    int64_t C, H, W;
};

// A network under construction, then the constant part of its plans. Tensor 0 is the input; every
// call adds one and returns its number. What does not fit throws std::invalid_argument.
class ConvolutionNetwork {
  public:
    enum class Kind { convolution, maximum, average, add };

    struct Step {
        Kind kind;
        int64_t source, other, target;  // other: residual or second summand; -1: none
        Windows windows;
        Clip clip;
        bool winograd, planes;  // planes: reads the input as it came, a plane per channel
        bool bf16;              // what it multiplies
        bool counts_padding;    // of an average
        AlignedVector<float> weights, bias;
    };

    // bf16: also throws where the level in use, or this processor, has no such products.
    ConvolutionNetwork(int64_t C, int64_t H, int64_t W, bool bf16 = false);

    // Winograd where it can be and its tiles are not mostly border, if the form is automatic.
    int64_t convolution(int64_t source, const float* weights, const float* bias, int64_t K,
                        const Windows& windows, int64_t residual = -1, Clip clip = {},
                        ConvolutionForm form = ConvolutionForm::automatic);
    // Paddings never win a maximum; in an average they count as zeros, or not at all.
    int64_t maximum(int64_t source, const Windows& windows);
    int64_t average(int64_t source, const Windows& windows, bool counts_padding);
    // b = -1: clips a.
    int64_t add(int64_t a, int64_t b, Clip clip = {});

    const TensorShape& shape(int64_t tensor) const;
    const std::vector<Step>& steps() const { return steps_; }
    int64_t tensors() const { return static_cast<int64_t>(shapes_.size()); }
    // Of a step; those of the level where none is given.
    const ConvolutionKernels& kernels(bool bf16 = false) const {
        return bf16 ? *bf16_kernels_ : kernels_;
    }

  private:
    int64_t push(Step step, TensorShape shape);
    TensorShape windows_of(int64_t source, int64_t K, const Windows& windows) const;

    const ConvolutionKernels& kernels_;
    const ConvolutionKernels* bf16_kernels_;  // null: every product in float32
    std::vector<TensorShape> shapes_;
    std::vector<Step> steps_;
};

class ConvolutionSchedule;

// A network's memory and its work in pieces, for N pictures. Serves one call at a time; plans of
// one network run side by side.
class ConvolutionPlan {
  public:
    // threads: at most so many work on a call (and at most num_threads()), 1 to 1024. N: 1 to
    // 65536. Throws std::invalid_argument for other numbers, for no network and for outputs it
    // lacks.
    ConvolutionPlan(std::shared_ptr<const ConvolutionNetwork> network, std::vector<int64_t> outputs,
                    int64_t N, int threads);
    ~ConvolutionPlan();

    // input (N, C, H, W); outputs[i] (N, C, H, W) of tensor outputs[i].
    void run(const float* input, const std::vector<float*>& outputs);

    int64_t bytes() const;  // of working memory, without the weights

  private:
    std::unique_ptr<ConvolutionSchedule> schedule_;
};

}  // namespace pyad
