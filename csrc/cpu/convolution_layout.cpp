#include "convolution_layout.h"

#include <algorithm>

#include "lanes4.h"
#include "pyad/aligned.h"

namespace pyad {
namespace {

constexpr int64_t kLine = 16;  // floats of a cache line

int64_t beyond(int64_t last, int64_t size) { return std::max<int64_t>(0, last - size); }

}  // namespace

void Border::include(const Border& other) {
    top = std::max(top, other.top);
    left = std::max(left, other.left);
    bottom = std::max(bottom, other.bottom);
    right = std::max(right, other.right);
}

Border border_of(const ConvolutionNetwork::Step& step, const TensorShape& in,
                 const TensorShape& out, int64_t tile) {
    if (step.kind != ConvolutionNetwork::Kind::convolution) return {};
    const Windows& w = step.windows;
    int64_t height = (out.H - 1) * w.stride_y + w.height,
            width = (out.W - 1) * w.stride_x + w.width;
    if (step.winograd) {  // whole tiles, which may hang over
        height = (out.H + tile - 1) / tile * tile + 2;
        width = (out.W + tile - 1) / tile * tile + 2;
    }
    return {w.top, w.left, beyond(height - w.top, in.H), beyond(width - w.left, in.W)};
}

int64_t place(const std::vector<Region*>& regions) {
    std::vector<Region*> placed, waiting(regions);
    std::stable_sort(waiting.begin(), waiting.end(),
                     [](const Region* a, const Region* b) { return a->size > b->size; });
    int64_t needed = 0;
    for (Region* region : waiting) {
        region->offset = 0;
        for (const Region* other : placed)  // by offset
            if (other->begin <= region->end && region->begin <= other->end &&
                other->offset < region->offset + region->size)
                region->offset = std::max(region->offset, other->offset + other->size);
        const auto after = [](const Region* a, const Region* b) { return a->offset < b->offset; };
        placed.insert(std::upper_bound(placed.begin(), placed.end(), region, after), region);
        needed = std::max(needed, region->offset + region->size);
    }
    return needed;
}

void Layout::lay_out(int64_t N) {
    blocks = (shape.C + unit - 1) / unit;
    row = (border.left + shape.W + border.right) * unit;
    // One line more than the picture: blocks would else meet in the same sets of the caches.
    block = ((border.top + shape.H + border.bottom) * row + kLine - 1) / kLine * kLine + kLine;
    picture = blocks * block;
    region.size = N * picture;
}

Work border_work(const Layout& layout, int64_t N, float* const& memory) {
    return {N, [&layout, &memory](int64_t n) {
                const Border& border = layout.border;
                const int64_t W = layout.shape.W;
                for (int64_t b = 0; b < layout.blocks; ++b) {
                    float* first = memory + layout.at(n, b, -border.top, -border.left);
                    std::fill_n(first, border.top * layout.row, 0.0f);
                    first += border.top * layout.row;
                    for (int64_t y = 0; y < layout.shape.H; ++y, first += layout.row) {
                        std::fill_n(first, border.left * layout.unit, 0.0f);
                        std::fill_n(first + (border.left + W) * layout.unit,
                                    border.right * layout.unit, 0.0f);
                    }
                    std::fill_n(first, border.bottom * layout.row, 0.0f);
                }
            }};
}

Work import_work(const Layout& layout, int64_t N, float* const& memory, const float* const& input) {
    return {N * layout.blocks, [&layout, &memory, &input](int64_t piece) {
                const auto [C, H, W] = layout.shape;
                const int64_t n = piece / layout.blocks, b = piece % layout.blocks;
                for (int64_t y = 0; y < H; ++y) {
                    float* row = memory + layout.at(n, b, y, 0);
                    for (int64_t i = 0; i < layout.unit; ++i) {
                        const int64_t c = b * layout.unit + i;
                        const float* from = input + ((n * C + c) * H + y) * W;
                        for (int64_t x = 0; x < W; ++x)
                            row[x * layout.unit + i] = c < C ? from[x] : 0.0f;
                    }
                }
            }};
}

Work export_work(const Layout& layout, int64_t N, float* const& memory, float* const& output) {
    return {N * layout.blocks, [&layout, &memory, &output](int64_t piece) {
                const auto [C, H, W] = layout.shape;
                const int64_t n = piece / layout.blocks, b = piece % layout.blocks;
                const int64_t channels = std::min(kBlock, C - b * kBlock);
                for (int64_t y = 0; y < H; ++y)
                    transpose4(memory + layout.at(n, b, y, 0), kBlock, W, channels,
                               output + ((n * C + b * kBlock) * H + y) * W, H * W);
            }};
}

float* thread_memory(int64_t n) {
    static thread_local AlignedVector<float> memory;
    if (static_cast<int64_t>(memory.size()) < n) memory.resize(n);
    return memory.data();
}

}  // namespace pyad
