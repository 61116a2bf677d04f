#include "greedy_coreset.cuh"
#include "pyad/cuda/greedy_coreset.h"

namespace pyad::cuda {
namespace {

auto runner(void* stream) {
    return [stream](const auto& program, Grid grid) {
        launch("greedy_coreset", program, grid, stream);
    };
}

}  // namespace

size_t greedy_coreset_workspace(int64_t N) { return CoresetMemory::bytes(N); }

void greedy_coreset_start(const float* initial, int64_t N, void* workspace, void* stream) {
    start_coreset(initial, N, workspace, runner(stream));
}

void greedy_coreset_passes(const float* points, int64_t N, int64_t P, int64_t count, int64_t passes,
                           void* workspace, int64_t* picks, void* stream) {
    coreset_passes(points, N, P, count, passes, workspace, picks, runner(stream));
}

}  // namespace pyad::cuda
