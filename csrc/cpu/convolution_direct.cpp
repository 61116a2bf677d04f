// The direct form of a convolution, alone or with the maximum pool behind it, in pieces.
#include <algorithm>

#include "convolution_rows.h"

namespace pyad {
namespace {

constexpr int64_t kWeights = 192 * 1024;  // floats of weights that a piece reads again and again
constexpr int64_t kPooledRows = 8;        // of a piece: convolved rows that two pieces need are few

}  // namespace

DirectRows::DirectRows(const StepPlan& plan) : plan_(plan), packed_(plan.in) {
    const Windows& w = plan.step.windows;
    const bool planes = plan.step.planes;
    const int64_t packed = plan.kernels.packed;
    if (packed > 1) {
        if (planes) {  // whole pairs, from the first window's left on to the last one's right
            const int64_t wanted = (plan.out.shape.W - 1) * w.stride_x + (w.width + 1) / 2 * 2;
            packed_.border.left = w.left;
            packed_.border.right = std::max<int64_t>(0, wanted - w.left - packed_.shape.W);
            packed_.border.right += (w.left + packed_.shape.W + packed_.border.right) % 2;
        }
        packed_.lay_out(plan.N);
        packed_.region.offset = 0;
        plan.scratch.size = (packed_.region.size + packed - 1) / packed;
    }
    const Layout& in = packed_;
    for (int64_t b = 0; b < in.blocks; ++b)
        for (int64_t y = 0; y < w.height; ++y)
            for (int64_t x = 0; x < (planes ? 1 : w.width); ++x)
                offsets_.push_back((b * in.block + y * in.row + x * in.unit) / packed);
    length_ = ((planes ? w.width : kBlock) + packed - 1) / packed;
    depth_ = static_cast<int64_t>(offsets_.size()) * length_;
}

int64_t DirectRows::panels() const {
    const int64_t wide = plan_.kernels.panel_blocks;
    return (plan_.out.blocks + wide - 1) / wide;
}

int64_t DirectRows::blocks(int64_t p) const {
    return std::min(plan_.kernels.panel_blocks, plan_.out.blocks - first_block(p));
}

void DirectRows::write(int64_t n, int64_t p, int64_t y, float* out, int64_t out_block) const {
    const auto& step = plan_.step;
    const int64_t b = first_block(p);
    Epilogue e{step.bias.data() + b * kBlock,
               nullptr,
               0,
               0,
               out,
               out_block,
               0,
               step.clip.low,
               step.clip.high};
    if (plan_.other) {
        e.residual = plan_.memory + plan_.other->at(n, b, y, 0);
        e.residual_block = plan_.other->block;
    }
    const Rows rows{row(n, y * step.windows.stride_y - step.windows.top),
                    step.windows.stride_x * plan_.in.unit / plan_.kernels.packed, offsets_.data(),
                    static_cast<int64_t>(offsets_.size()), length_};
    plan_.kernels.convolve(rows, plan_.out.shape.W, step.weights.data() + b * kBlock * depth_,
                           blocks(p), e);
}

const float* DirectRows::row(int64_t n, int64_t y) const {
    const int64_t left = -plan_.step.windows.left, packed = plan_.kernels.packed;
    if (packed == 1) return plan_.memory + plan_.in.at(n, 0, y, left);
    return plan_.memory + plan_.scratch.offset + packed_.at(n, 0, y, left) / packed;
}

std::vector<Work> DirectRows::packing() const {
    if (plan_.kernels.packed == 1) return {};
    const int64_t bands = bands_of(plan_, plan_.N * packed_.blocks);
    return {
        {plan_.N * packed_.blocks * bands, [plan = plan_, packed = packed_, bands](int64_t piece) {
             const Layout& in = plan.in;
             const Border& border = packed.border;
             const int64_t n = piece / bands / packed.blocks, b = piece / bands % packed.blocks;
             const int64_t band = piece % bands;
             const int64_t rows = border.top + in.shape.H + border.bottom;
             const int64_t places = plan.kernels.packed;
             // What lies beyond the source's own border was nowhere set.
             const int64_t count =
                 std::min(packed.row, (border.left + in.shape.W + in.border.right) * in.unit);
             float* base = plan.memory + plan.scratch.offset;
             for (int64_t i = band * rows / bands; i < (band + 1) * rows / bands; ++i) {
                 const int64_t y = i - border.top;
                 float* to = base + packed.at(n, b, y, -border.left) / places;
                 plan.kernels.pack(plan.memory + in.at(n, b, y, -border.left), count, to);
                 std::fill(to + (count + places - 1) / places, to + packed.row / places, 0.0f);
             }
         }}};
}

std::vector<Work> direct_works(const StepPlan& plan) {
    const DirectRows rows(plan);
    // Panels whose weights stay near.
    const int64_t group = std::clamp<int64_t>(kWeights / rows.weights(), 1, rows.panels());
    const int64_t groups = (rows.panels() + group - 1) / group;
    const int64_t bands = bands_of(plan, plan.N * groups);
    std::vector<Work> works = rows.packing();
    works.push_back(
        {groups * plan.N * bands, [=](int64_t piece) {
             const Layout& out = plan.out;
             const int64_t first = piece / (plan.N * bands) * group, n = piece / bands % plan.N;
             const int64_t band = piece % bands, H = out.shape.H;
             for (int64_t p = first; p < std::min(rows.panels(), first + group); ++p)
                 for (int64_t y = band * H / bands; y < (band + 1) * H / bands; ++y)
                     rows.write(n, p, y, plan.memory + out.at(n, rows.first_block(p), y, 0),
                                out.block);
         }});
    return works;
}

std::vector<Work> pooled_works(const StepPlan& plan, const StepPlan& pool) {
    const DirectRows rows(plan);
    const int64_t bands = bands_of(pool, plan.N, kPooledRows);
    std::vector<Work> works = rows.packing();
    works.push_back(
        {plan.N * bands, [=](int64_t piece) {
             const Windows& w = pool.step.windows;
             const int64_t n = piece / bands, band = piece % bands, H = pool.out.shape.H;
             const int64_t begin = band * H / bands, end = (band + 1) * H / bands;
             const int64_t first = std::max<int64_t>(0, begin * w.stride_y - w.top);
             const int64_t last =
                 std::min(plan.out.shape.H, (end - 1) * w.stride_y - w.top + w.height);
             const int64_t row = plan.out.shape.W * kBlock, block = (last - first) * row;
             float* near = thread_memory(block * plan.kernels.panel_blocks);
             for (int64_t p = 0; p < rows.panels(); ++p) {
                 for (int64_t y = first; y < last; ++y)
                     rows.write(n, p, y, near + (y - first) * row, block);
                 for (int64_t b = 0; b < rows.blocks(p); ++b)
                     for (int64_t i = begin; i < end; ++i)
                         pool_row(pool, near + b * block - first * row, row, i,
                                  pool.memory + pool.out.at(n, rows.first_block(p) + b, i, 0));
             }
         }});
    return works;
}

}  // namespace pyad
