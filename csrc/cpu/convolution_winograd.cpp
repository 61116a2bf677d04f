// Winograd's form of a convolution, in pieces: tiles are transformed, multiplied with the
// transformed weights position by position, and transformed back.
//
// Where the weights are few enough to stream past them, a piece does so with some tiles. Else tiles
// are transformed once for all, and a piece takes a panel of output channels: each thread reads its
// own part of the weights.
#include <algorithm>

#include "convolution_layout.h"

namespace pyad {
namespace {

constexpr int64_t kCached = 640 * 1024;          // floats of weights that a piece of tiles streams
constexpr int64_t kTiles = 36, kManyTiles = 64;  // of a piece, in each way
constexpr int64_t kLine = 16;
const int64_t kNoOffset = 0;

int64_t rounded_up(int64_t n, int64_t d) { return (n + d - 1) / d; }

// Tiles of all pictures, row by row.
class Tiles {
  public:
    explicit Tiles(const StepPlan& plan)
        : step_(plan.step),
          kernels_(plan.kernels),
          in_(plan.in),
          out_(plan.out),
          other_(plan.other),
          memory_(plan.memory),
          down_(rounded_up(plan.out.shape.H, kernels_.tile)),
          across_(rounded_up(plan.out.shape.W, kernels_.tile)),
          count_(plan.N * down_ * across_) {}

    int64_t count() const { return count_; }
    int64_t positions() const { return kernels_.positions(); }
    // Floats that hold the channels of a position.
    int64_t channels() const { return in_.blocks * kBlock / kernels_.packed; }
    int64_t panels() const { return rounded_up(out_.blocks, kernels_.panel_blocks); }
    int64_t panel() const { return kernels_.panel_blocks * kBlock; }

    // Tile t's transform to (positions, channels), positions at a stride.
    void enter(int64_t t, float* to, int64_t stride) const {
        const int64_t n = t / (down_ * across_);
        const int64_t y = t / across_ % down_ * kernels_.tile - step_.windows.top;
        const int64_t x = t % across_ * kernels_.tile - step_.windows.left;
        const float* from = memory_ + in_.at(n, 0, y, x);
        for (int64_t b = 0; b < in_.blocks; ++b)
            kernels_.enter_tile(from + b * in_.block, in_.row, to + b * kBlock / kernels_.packed,
                                stride);
    }

    // Products of tiles begin to end, entered at `from`, with panel p, and back to pixels; `sums`
    // has room for (positions, tiles, panel).
    void leave(int64_t begin, int64_t end, const float* from, int64_t stride, int64_t p,
               float* sums) const {
        const int64_t C = channels(), first = p * kernels_.panel_blocks, tiles = end - begin;
        const int64_t wide = std::min(kernels_.panel_blocks, out_.blocks - first);
        const int64_t columns = wide * kBlock, step = tiles * columns + kLine;
        const float* weights = step_.weights.data() + first * kBlock * positions() * C;
        for (int64_t i = 0; i < positions(); ++i)
            kernels_.multiply({from + i * stride, C, &kNoOffset, 1, C}, tiles,
                              weights + i * C * columns, wide, sums + i * step, columns);
        for (int64_t t = begin; t < end; ++t) {
            const int64_t n = t / (down_ * across_);
            const int64_t y = t / across_ % down_ * kernels_.tile, x = t % across_ * kernels_.tile;
            const int64_t height = std::min(kernels_.tile, out_.shape.H - y);
            const int64_t width = std::min(kernels_.tile, out_.shape.W - x);
            for (int64_t b = 0; b < wide; ++b) {
                Epilogue e{step_.bias.data() + (first + b) * kBlock,
                           nullptr,
                           0,
                           0,
                           memory_ + out_.at(n, first + b, y, x),
                           out_.block,
                           out_.row,
                           step_.clip.low,
                           step_.clip.high};
                if (other_) {
                    e.residual = memory_ + other_->at(n, first + b, y, x);
                    e.residual_block = other_->block;
                    e.residual_row = other_->row;
                }
                kernels_.leave_tile(sums + (t - begin) * columns + b * kBlock, step, height, width,
                                    e);
            }
        }
    }

  private:
    const ConvolutionNetwork::Step& step_;
    const ConvolutionKernels& kernels_;
    const Layout &in_, &out_;
    const Layout* other_;
    float* const& memory_;
    int64_t down_, across_, count_;
};

std::vector<Work> by_tiles(const Tiles& tiles, int threads) {
    const int64_t T = tiles.count(), C = tiles.channels();
    const int64_t pieces =
        std::min(T, rounded_up(rounded_up(T, kTiles), threads) * int64_t{threads});
    const int64_t most = rounded_up(T, pieces), stride = most * C + kLine;
    return {{pieces, [=](int64_t piece) {
                 const int64_t begin = piece * T / pieces, end = (piece + 1) * T / pieces;
                 float* entered =
                     thread_memory(tiles.positions() * (stride + most * tiles.panel() + kLine));
                 for (int64_t t = begin; t < end; ++t)
                     tiles.enter(t, entered + (t - begin) * C, stride);
                 for (int64_t p = 0; p < tiles.panels(); ++p)
                     tiles.leave(begin, end, entered, stride, p,
                                 entered + tiles.positions() * stride);
             }}};
}

std::vector<Work> by_panels(const Tiles& tiles, int threads, float* const& memory,
                            Region& scratch) {
    const int64_t T = tiles.count(), C = tiles.channels(), stride = T * C + kLine;
    const int64_t entering = std::min<int64_t>(T, 4 * threads), parts = rounded_up(T, kManyTiles);
    scratch.size = tiles.positions() * stride;
    const auto entered = [&scratch, &memory] { return memory + scratch.offset; };
    return {{entering,
             [=](int64_t piece) {
                 for (int64_t t = piece * T / entering; t < (piece + 1) * T / entering; ++t)
                     tiles.enter(t, entered() + t * C, stride);
             }},
            {tiles.panels() * parts, [=](int64_t piece) {
                 const int64_t part = piece % parts;
                 const int64_t begin = part * T / parts, end = (part + 1) * T / parts;
                 tiles.leave(begin, end, entered() + begin * C, stride, piece / parts,
                             thread_memory(tiles.positions() *
                                           (rounded_up(T, parts) * tiles.panel() + kLine)));
             }}};
}

}  // namespace

std::vector<Work> winograd_works(const StepPlan& plan) {
    const Tiles tiles(plan);
    if (tiles.positions() * tiles.channels() * plan.out.blocks * kBlock <= kCached)
        return by_tiles(tiles, plan.threads);
    return by_panels(tiles, plan.threads, plan.memory, plan.scratch);
}

}  // namespace pyad
