#include "pyad/convolution.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "convolution_kernels.h"
#include "convolution_weights.h"
#include "pyad/level.h"

namespace pyad {
namespace {

constexpr int64_t kLargest = 65536, kLargestWindow = 64, kLargestStride = 16;

[[noreturn]] void refuse(const std::string& what) {
    throw std::invalid_argument("[convolution] expected " + what + ".");
}

bool within(int64_t low, int64_t x, int64_t high) { return low <= x && x <= high; }

std::string shown(const TensorShape& s) {
    return std::to_string(s.C) + " x " + std::to_string(s.H) + " x " + std::to_string(s.W);
}

// Tiles that hang over the picture's edge, and few channels, cost more than multiplications saved.
bool suits_winograd(const Windows& w, int64_t C, const TensorShape& out,
                    const ConvolutionKernels& kernels) {
    const int64_t tile = kernels.tile, positions = kernels.positions();
    const auto tiles = [tile](int64_t n) { return (n + tile - 1) / tile; };
    return w.height == 3 && w.width == 3 && w.stride_y == 1 && w.stride_x == 1 && C >= kBlock &&
           out.C >= kBlock && 3 * positions * tiles(out.H) * tiles(out.W) <= 2 * 9 * out.H * out.W;
}

}  // namespace

ConvolutionNetwork::ConvolutionNetwork(int64_t C, int64_t H, int64_t W, bool bf16)
    : kernels_(convolution_kernels()), bf16_kernels_(bf16 ? bf16_convolution_kernels() : nullptr) {
    if (bf16 && !bf16_kernels_)
        refuse("a processor and level with products in bf16 (AVX512_BF16), got level " +
               std::string(level_name(active_level())));
    if (!within(1, C, kLargest) || !within(1, H, kLargest) || !within(1, W, kLargest))
        refuse("an input of 1 to 65536 channels, rows and columns, got " + shown({C, H, W}));
    push({}, {C, H, W});
}

const TensorShape& ConvolutionNetwork::shape(int64_t tensor) const {
    if (!within(0, tensor, tensors() - 1))
        refuse("a tensor's number below " + std::to_string(tensors()) + ", got " +
               std::to_string(tensor));
    return shapes_[tensor];
}

int64_t ConvolutionNetwork::push(Step step, TensorShape shape) {
    if (shape.C * shape.H * shape.W >= int64_t{1} << 31)
        refuse("tensors of less than 2^31 values, got " + shown(shape));
    step.target = tensors();
    if (step.target > 0) steps_.push_back(std::move(step));
    shapes_.push_back(shape);
    return tensors() - 1;
}

TensorShape ConvolutionNetwork::windows_of(int64_t source, int64_t K, const Windows& w) const {
    const TensorShape& in = shape(source);
    if (!within(1, w.height, kLargestWindow) || !within(1, w.width, kLargestWindow) ||
        !within(1, w.stride_y, kLargestStride) || !within(1, w.stride_x, kLargestStride))
        refuse("windows of 1 to 64 pixels and strides of 1 to 16, got " + std::to_string(w.height) +
               " x " + std::to_string(w.width) + " at " + std::to_string(w.stride_y) + " x " +
               std::to_string(w.stride_x));
    for (const auto& [padding, size] :
         {std::pair{w.top, w.height}, {w.bottom, w.height}, {w.left, w.width}, {w.right, w.width}})
        if (!within(0, padding, size - 1))
            refuse("paddings from 0 to less than the window, got " + std::to_string(padding) +
                   " for " + std::to_string(size));
    const int64_t height = in.H + w.top + w.bottom - w.height,
                  width = in.W + w.left + w.right - w.width;
    if (height < 0 || width < 0)
        refuse("a picture that holds a window of " + std::to_string(w.height) + " x " +
               std::to_string(w.width) + ", got " + shown(in));
    return {K, height / w.stride_y + 1, width / w.stride_x + 1};
}

int64_t ConvolutionNetwork::convolution(int64_t source, const float* weights, const float* bias,
                                        int64_t K, const Windows& windows, int64_t residual,
                                        Clip clip, ConvolutionForm form) {
    if (!within(1, K, kLargest)) refuse("1 to 65536 output channels, got " + std::to_string(K));
    const TensorShape out = windows_of(source, K, windows);
    const int64_t C = shape(source).C;
    if (residual >= 0) {
        const TensorShape& r = shape(residual);
        if (r.C != out.C || r.H != out.H || r.W != out.W)
            refuse("a residual of shape " + shown(out) + ", got " + shown(r));
    }
    Step step{};
    step.kind = Kind::convolution;
    step.source = source;
    step.other = residual;
    step.windows = windows;
    step.clip = clip;
    step.bf16 = bf16_kernels_ != nullptr;
    step.winograd = suits_winograd(windows, C, out, kernels(step.bf16));
    if (form == ConvolutionForm::direct) step.winograd = false;
    if (form == ConvolutionForm::winograd) {
        if (windows.height != 3 || windows.width != 3 || windows.stride_y != 1 ||
            windows.stride_x != 1)
            refuse("3 x 3 windows at stride 1 for the form winograd");
        step.winograd = true;
    }
    step.planes = source == 0 && C < kBlock && !step.winograd;
    // Rows of pairs are read at whole pairs.
    if (step.planes && windows.stride_x % 2 != 0) step.bf16 = false;
    step.weights = step.winograd ? transform_weights(weights, K, C, kernels(step.bf16))
                                 : pack_weights(weights, K, C, windows.height, windows.width,
                                                step.planes, kernels(step.bf16));
    step.bias.assign((K + kBlock - 1) / kBlock * kBlock, 0.0f);
    std::copy(bias, bias + K, step.bias.begin());
    return push(std::move(step), out);
}

int64_t ConvolutionNetwork::maximum(int64_t source, const Windows& windows) {
    Step step{};
    step.kind = Kind::maximum;
    step.source = source;
    step.other = -1;
    step.windows = windows;
    return push(std::move(step), windows_of(source, shape(source).C, windows));
}

int64_t ConvolutionNetwork::average(int64_t source, const Windows& windows, bool counts_padding) {
    Step step{};
    step.kind = Kind::average;
    step.source = source;
    step.other = -1;
    step.windows = windows;
    step.counts_padding = counts_padding;
    return push(std::move(step), windows_of(source, shape(source).C, windows));
}

int64_t ConvolutionNetwork::add(int64_t a, int64_t b, Clip clip) {
    const TensorShape out = shape(a);
    if (b >= 0) {
        const TensorShape& other = shape(b);
        if (other.C != out.C || other.H != out.H || other.W != out.W)
            refuse("summands of one shape, got " + shown(out) + " and " + shown(other));
    }
    Step step{};
    step.kind = Kind::add;
    step.source = a;
    step.other = b;
    step.clip = clip;
    return push(std::move(step), out);
}

}  // namespace pyad
