#include <onnxruntime_cxx_api.h>

#include <array>

#include "error.h"
#include "network.h"

namespace pyad::example {
namespace {

class OnnxRuntime : public Network {
  public:
    OnnxRuntime(const Engine& engine, int threads)
        : names_(engine.outputs), shape_{1, 3, engine.input_size[0], engine.input_size[1]} {
        Ort::SessionOptions options;
        options.SetIntraOpNumThreads(threads);
        options.SetGraphOptimizationLevel(GraphOptimizationLevel::ORT_ENABLE_ALL);
        // Threads stop spinning after a run: the head needs the cores then.
        options.AddConfigEntry("session.force_spinning_stop", "1");
        const Tensor& onnx = engine.tensors.at("network/onnx");
        session_ = Ort::Session(environment_, onnx.data, static_cast<size_t>(onnx.bytes), options);
        Ort::AllocatorWithDefaultOptions allocator;
        input_ = session_.GetInputNameAllocated(0, allocator).get();
    }

    std::vector<Features> run(const float* input) override {
        const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
        const auto elements = static_cast<size_t>(3 * shape_[2] * shape_[3]);
        const Ort::Value value = Ort::Value::CreateTensor<float>(
            memory, const_cast<float*>(input), elements, shape_.data(), shape_.size());
        const char* name = input_.c_str();
        std::vector<const char*> outputs;
        for (const std::string& output : names_) outputs.push_back(output.c_str());
        const auto found = session_.Run(Ort::RunOptions{nullptr}, &name, &value, 1, outputs.data(),
                                        outputs.size());
        std::vector<Features> levels;
        for (const Ort::Value& output : found) {
            const auto about = output.GetTensorTypeAndShapeInfo();
            const std::vector<int64_t> s = about.GetShape();
            if (s.size() != 4 || s[0] != 1)
                throw Error(Code::network,
                            "[network] expected outputs of shape (1, C, h, w). "
                            "Export the engine again.");
            const auto* data = output.GetTensorData<float>();
            levels.push_back({s[1], s[2], s[3], {data, data + about.GetElementCount()}});
        }
        return levels;
    }

  private:
    Ort::Env environment_{ORT_LOGGING_LEVEL_FATAL, "pyad_edge"};
    Ort::Session session_{nullptr};
    std::vector<std::string> names_;
    std::array<int64_t, 4> shape_;
    std::string input_;
};

}  // namespace

const char* const kNetwork = "onnxruntime";

std::unique_ptr<Network> open_network(const Engine& engine, int threads) {
    try {
        return std::make_unique<OnnxRuntime>(engine, threads);
    } catch (const Ort::Exception& failure) {
        throw Error(Code::network, std::string("[network] ONNX Runtime cannot load the engine's "
                                               "network: ") +
                                       failure.what());
    }
}

}  // namespace pyad::example
