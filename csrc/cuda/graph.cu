#include "check.h"
#include "pyad/cuda/graph.h"

namespace pyad::cuda {
namespace {

constexpr const char* kOp = "cuda";
cudaStream_t handle(void* stream) { return static_cast<cudaStream_t>(stream); }

}  // namespace

void* make_stream() {
    cudaStream_t stream = nullptr;
    check(kOp, "making a stream", cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    return stream;
}

void release_stream(void* stream) noexcept {
    if (cudaStreamDestroy(handle(stream)) != cudaSuccess) cudaGetLastError();
}

void begin_capture(void* stream) {
    // Other threads may allocate meanwhile.
    check(kOp, "beginning a capture",
          cudaStreamBeginCapture(handle(stream), cudaStreamCaptureModeThreadLocal));
}

Graph::Graph(void* stream, bool discard) {
    cudaGraph_t graph = nullptr;
    const cudaError_t ended = cudaStreamEndCapture(handle(stream), &graph);
    if (discard) {
        cudaGetLastError();  // the failure that is being told already
        if (graph != nullptr) cudaGraphDestroy(graph);
        return;
    }
    check(kOp, "ending a capture", ended);
    cudaGraphExec_t executable = nullptr;
    const cudaError_t made = cudaGraphInstantiate(&executable, graph, 0);
    cudaGraphDestroy(graph);
    check(kOp, "instantiating a graph", made);
    executable_ = executable;
}

Graph::~Graph() {
    if (executable_ != nullptr) cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(executable_));
}

void Graph::launch(void* stream) const {
    if (executable_ == nullptr) return;
    check(kOp, "launching a graph",
          cudaGraphLaunch(static_cast<cudaGraphExec_t>(executable_), handle(stream)));
}

}  // namespace pyad::cuda
