// The engine's network: pictures in, feature maps out. One of network_*.cpp is built in.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine.h"

namespace pyad::example {

struct Features {
    int64_t channels, h, w;
    std::vector<float> data;  // (1, channels, h, w)
};

class Network {
  public:
    virtual ~Network() = default;
    // input: (1, 3, H, W), the engine's input size. One level per output, the finest first.
    virtual std::vector<Features> run(const float* input) = 0;
};

extern const char* const kNetwork;  // openvino, onnxruntime or none

// Throws Error; null where the example was built without a network.
std::unique_ptr<Network> open_network(const Engine& engine, int threads);

}  // namespace pyad::example
