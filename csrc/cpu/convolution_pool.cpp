// Pools and sums, in pieces.
#include <algorithm>
#include <utility>

#include "convolution_rows.h"

namespace pyad {
namespace {

constexpr int64_t kPieces = 4;  // per thread: what one thread begins late, others take

// Calls body(first, count, x, width) for windows beside each other of one size: those at the
// picture's edges, without what lies outside, and those between.
template <typename Body>
void runs_of_windows(int64_t count, int64_t size, int64_t stride, int64_t padding, int64_t extent,
                     const Body& body) {
    const auto cut = [&](int64_t i) {
        const int64_t first = std::max<int64_t>(0, i * stride - padding);
        return std::pair(first, std::min(extent, i * stride - padding + size) - first);
    };
    for (int64_t i = 0; i < count;) {
        const auto [first, width] = cut(i);
        int64_t n = 1;
        // Only whole windows lie at even distances.
        while (width == size && i + n < count && cut(i + n).second == size) ++n;
        body(i, n, first, width);
        i += n;
    }
}

}  // namespace

int64_t bands_of(const StepPlan& plan, int64_t others, int64_t least) {
    const int64_t wanted = (kPieces * plan.threads + others - 1) / others;
    return std::clamp<int64_t>(plan.out.shape.H / least, 1, wanted);
}

void pool_row(const StepPlan& plan, const float* in, int64_t in_row, int64_t i, float* out) {
    const auto& step = plan.step;
    const Windows& w = step.windows;
    const int64_t top = i * w.stride_y - w.top, y = std::max<int64_t>(0, top);
    const int64_t height = std::min(plan.in.shape.H, top + w.height) - y;
    runs_of_windows(
        plan.out.shape.W, w.width, w.stride_x, w.left, plan.in.shape.W,
        [&](int64_t j, int64_t count, int64_t x, int64_t width) {
            const WindowRow windows{in + y * in_row + x * kBlock, in_row, height, width, count,
                                    w.stride_x * kBlock};
            if (step.kind == ConvolutionNetwork::Kind::maximum)
                return plan.kernels.maximum(windows, out + j * kBlock);
            const int64_t area = step.counts_padding ? w.height * w.width : height * width;
            plan.kernels.average(windows, 1.0f / static_cast<float>(area), out + j * kBlock);
        });
}

std::vector<Work> pool_works(const StepPlan& plan) {
    const int64_t bands = bands_of(plan, plan.N * plan.out.blocks);
    return {{plan.N * plan.out.blocks * bands, [=](int64_t piece) {
                 const Layout &in = plan.in, &out = plan.out;
                 const int64_t n = piece / bands / out.blocks, b = piece / bands % out.blocks;
                 const int64_t band = piece % bands, H = out.shape.H;
                 for (int64_t i = band * H / bands; i < (band + 1) * H / bands; ++i)
                     pool_row(plan, plan.memory + in.at(n, b, 0, 0), in.row, i,
                              plan.memory + out.at(n, b, i, 0));
             }}};
}

std::vector<Work> add_works(const StepPlan& plan) {
    return {{plan.N * plan.out.blocks, [=](int64_t piece) {
                 const auto& step = plan.step;
                 const Layout& out = plan.out;
                 const int64_t n = piece / out.blocks, b = piece % out.blocks;
                 for (int64_t y = 0; y < out.shape.H; ++y)
                     plan.kernels.add(
                         plan.memory + plan.in.at(n, b, y, 0),
                         plan.other ? plan.memory + plan.other->at(n, b, y, 0) : nullptr,
                         out.shape.W, step.clip.low, step.clip.high,
                         plan.memory + out.at(n, b, y, 0));
             }}};
}

}  // namespace pyad
