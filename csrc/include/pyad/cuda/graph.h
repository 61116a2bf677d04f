// Streams and CUDA graphs, for backends that do not bring their own. Everything throws
// std::runtime_error if the device fails.
#pragma once

namespace pyad::cuda {

// A stream that does not wait for the default stream; a cudaStream_t.
void* make_stream();
void release_stream(void* stream) noexcept;

// What is enqueued on a stream between begin_capture and the making of a Graph, ready to be
// launched as often as wanted. Memory that it uses has to stay where it is.
void begin_capture(void* stream);
class Graph {
  public:
    // Ends the capture on the stream. `discard` only ends it: the graph is empty.
    explicit Graph(void* stream, bool discard = false);
    ~Graph();
    Graph(const Graph&) = delete;
    Graph& operator=(const Graph&) = delete;

    void launch(void* stream) const;

  private:
    void* executable_ = nullptr;
};

}  // namespace pyad::cuda
