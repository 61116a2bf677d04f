// Where a plan's tensors lie, and the work that is done on them.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "convolution_kernels.h"
#include "pyad/convolution.h"

namespace pyad {

// Rows of zeros around a tensor, which windows read.
struct Border {
    int64_t top = 0, left = 0, bottom = 0, right = 0;

    void include(const Border& other);
};

// What a step's windows read beyond its source; `tile` of its kernels.
Border border_of(const ConvolutionNetwork::Step& step, const TensorShape& in,
                 const TensorShape& out, int64_t tile);

// Memory that is used from stage `begin` to stage `end`, both included; offset in floats.
struct Region {
    int64_t size = 0, begin = 0, end = 0, offset = 0;
};

// Gives each region an offset at which no other region of the same time lies; the floats needed.
int64_t place(const std::vector<Region*>& regions);

// A tensor in planned memory: `unit` floats a pixel, 16 channels, or one where it is in planes.
struct Layout {
    TensorShape shape{};
    Border border;
    int64_t unit = kBlock, blocks = 0, row = 0, block = 0, picture = 0;
    Region region;

    void lay_out(int64_t N);
    int64_t at(int64_t n, int64_t b, int64_t y, int64_t x) const {
        return region.offset + n * picture + b * block + (border.top + y) * row +
               (border.left + x) * unit;
    }
};

// Pieces that may run in any order and at once.
struct Work {
    int64_t pieces;
    std::function<void(int64_t piece)> run;
};

// One step of a plan. Layouts and regions get their offsets after the works are made.
struct StepPlan {
    const ConvolutionNetwork::Step& step;
    const ConvolutionKernels& kernels;
    const Layout &in, &out;
    const Layout* other;  // residual or second summand; null: none
    int64_t N;
    int threads;
    float* const& memory;
    Region& scratch;  // shared by the step's pieces; a size makes it one
};

// Works of a step, each after the one before.
std::vector<Work> direct_works(const StepPlan& plan);
std::vector<Work> pooled_works(const StepPlan& plan, const StepPlan& pool);  // direct, then a pool
std::vector<Work> winograd_works(const StepPlan& plan);
std::vector<Work> pool_works(const StepPlan& plan);
std::vector<Work> add_works(const StepPlan& plan);

// Zeros around a tensor; pictures to and from tensors.
Work border_work(const Layout& layout, int64_t N, float* const& memory);
Work import_work(const Layout& layout, int64_t N, float* const& memory, const float* const& input);
Work export_work(const Layout& layout, int64_t N, float* const& memory, float* const& output);

// Memory of the calling thread, at least n floats, kept from call to call.
float* thread_memory(int64_t n);

}  // namespace pyad
