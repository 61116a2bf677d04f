#include <openvino/openvino.hpp>
#include <openvino/runtime/intel_cpu/properties.hpp>

#include "error.h"
#include "network.h"

namespace pyad::example {
namespace {

class OpenVino : public Network {
  public:
    OpenVino(const Engine& engine, int threads) : outputs_(engine.outputs) {
        const Tensor& onnx = engine.tensors.at("network/onnx");
        const std::string bytes(onnx.as<char>(), static_cast<size_t>(onnx.bytes));
        ov::Core core;
        auto model = core.read_model(bytes, ov::Tensor());
        shape_ = {1, 3, static_cast<size_t>(engine.input_size[0]),
                  static_cast<size_t>(engine.input_size[1])};
        model->reshape(shape_);
        // As pyad_edge's own backend: fp32 is fp32, and numbers are IEEE's.
        auto compiled = core.compile_model(
            model, "CPU", ov::hint::performance_mode(ov::hint::PerformanceMode::LATENCY),
            ov::hint::inference_precision(ov::element::f32), ov::num_streams(1),
            ov::inference_num_threads(threads), ov::intel_cpu::denormals_optimization(false));
        request_ = compiled.create_infer_request();
    }

    std::vector<Features> run(const float* input) override {
        request_.set_input_tensor(ov::Tensor(ov::element::f32, shape_, const_cast<float*>(input)));
        request_.infer();
        std::vector<Features> levels;
        for (const std::string& name : outputs_) {
            const ov::Tensor found = request_.get_tensor(name);
            const ov::Shape s = found.get_shape();
            if (s.size() != 4 || s[0] != 1)
                throw Error(Code::network, "[network] expected output '" + name +
                                               "' of shape (1, C, h, w). Export the engine again.");
            const auto side = [&](int i) { return static_cast<int64_t>(s[i]); };
            levels.push_back({side(1),
                              side(2),
                              side(3),
                              {found.data<float>(), found.data<float>() + found.get_size()}});
        }
        return levels;
    }

  private:
    std::vector<std::string> outputs_;
    ov::Shape shape_;
    ov::InferRequest request_;
};

}  // namespace

const char* const kNetwork = "openvino";

std::unique_ptr<Network> open_network(const Engine& engine, int threads) {
    try {
        return std::make_unique<OpenVino>(engine, threads);
    } catch (const ov::Exception& failure) {
        throw Error(Code::network, std::string("[network] OpenVINO cannot load the engine's "
                                               "network: ") +
                                       failure.what());
    }
}

}  // namespace pyad::example
