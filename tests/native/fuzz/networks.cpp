// convolution.h: networks under construction, their plans and runs.
#include <memory>
#include <stdexcept>

#include "pyad/convolution.h"
#include "pyad/level.h"
#include "target.h"

using fuzz::Bytes;
using fuzz::Exact;
using Network = pyad::ConvolutionNetwork;

namespace {

constexpr int64_t kValues = 8000;  // of a tensor, so that a run stays short

int64_t number(Bytes& bytes, int64_t low, int64_t high) {
    return bytes.one_in(64) ? bytes.hostile() : bytes.within(low, high);
}

pyad::Windows windows(Bytes& bytes) {
    const int64_t height = number(bytes, 1, bytes.one_in(16) ? 12 : 3);
    const int64_t width = bytes.one_in(4) ? number(bytes, 1, 5) : height;
    const auto stride = [&] { return bytes.one_in(3) ? number(bytes, 1, 4) : 1; };
    const auto padding = [&](int64_t size) {
        return size > 1 && bytes.one_in(2) ? number(bytes, 0, size > 64 ? 63 : size - 1)
                                           : size == 3;
    };
    pyad::Windows w{height, width};
    w.stride_y = stride();
    w.stride_x = stride();
    w.top = padding(height);
    w.left = padding(width);
    w.bottom = padding(height);
    w.right = padding(width);
    return w;
}

// csrc/bindings/register_convolution.cpp: weights (K, C, P, Q) of the source's C and the windows,
// and a bias (K). There are no arrays of negative sides.
void convolve(Bytes& bytes, Network& network, int64_t source, pyad::Clip clip) {
    const int64_t K = bytes.one_in(32) ? 0 : bytes.size(1, 40), C = network.shape(source).C;
    pyad::Windows w = windows(bytes);
    fuzz::require(w.height >= 0 && w.width >= 0 && w.height <= 100 && w.width <= 100, "an array");
    fuzz::require(K * C * w.height * w.width <= 20000, "few weights");
    const Exact<float> weights = bytes.floats(K * C * w.height * w.width), bias = bytes.floats(K);
    const int64_t residual = bytes.one_in(4) ? number(bytes, 0, network.tensors() - 1) : -1;
    constexpr pyad::ConvolutionForm forms[] = {pyad::ConvolutionForm::automatic,
                                               pyad::ConvolutionForm::direct,
                                               pyad::ConvolutionForm::winograd};
    network.convolution(source, weights.data(), bias.data(), K, w, residual, clip,
                        forms[bytes.below(3)]);
}

void add_step(Bytes& bytes, Network& network) {
    const int64_t source =
        bytes.one_in(3) ? number(bytes, 0, network.tensors() - 1) : network.tensors() - 1;
    const pyad::Clip clip =
        bytes.one_in(2) ? pyad::Clip{} : pyad::Clip{bytes.number(), bytes.number()};
    switch (bytes.below(5)) {
        case 0:
            network.maximum(source, windows(bytes));
            break;
        case 1:
            network.average(source, windows(bytes), bytes.one_in(2));
            break;
        case 2:
            network.add(source, bytes.one_in(3) ? -1 : number(bytes, 0, network.tensors() - 1),
                        clip);
            break;
        default:
            convolve(bytes, network, source, clip);
    }
}

int64_t values(const pyad::TensorShape& shape) { return shape.C * shape.H * shape.W; }

}  // namespace

// The network and its plan check themselves; the binding checks the arrays of a run.
PYAD_FUZZ(convolution) {
    const auto side = [&](int64_t high) {
        return bytes.one_in(64) ? bytes.hostile() : bytes.size(1, high);
    };
    const int64_t C = side(24), H = side(18), W = side(18);
    const bool bf16 = bytes.one_in(2) && pyad::has_bf16();
    const auto network = std::make_shared<Network>(C, H, W, bf16);
    fuzz::require(values(network->shape(0)) <= kValues, "a small picture");
    for (int64_t steps = bytes.below(6); steps > 0; --steps) {
        try {
            add_step(bytes, *network);
        } catch (const std::invalid_argument&) {  // a refusal leaves the network as it was
        }
        fuzz::require(values(network->shape(network->tensors() - 1)) <= kValues, "small tensors");
    }
    std::vector<int64_t> wanted;
    for (int64_t i = bytes.within(0, 3); i > 0; --i)
        wanted.push_back(number(bytes, 0, network->tensors() - 1));
    const int64_t N = number(bytes, 1, 3);
    fuzz::require(N <= 3 || N > 65536, "memory for so many pictures");
    const int64_t threads = number(bytes, 1, 4);
    pyad::ConvolutionPlan plan(bytes.one_in(64) ? nullptr : network, wanted, N,
                               static_cast<int>(threads));
    const Exact<float> input = bytes.floats(N * values(network->shape(0)));
    std::vector<Exact<float>> outputs;
    std::vector<float*> targets;
    for (const int64_t tensor : wanted) {
        outputs.emplace_back(N * values(network->shape(tensor)), bytes.below(16));
        targets.push_back(outputs.back().data());
    }
    fuzz::expect(plan.bytes() >= 0, "bytes");
    plan.run(input.data(), targets);
    if (bytes.one_in(16)) targets.push_back(nullptr);
    plan.run(input.data(), targets);
}
