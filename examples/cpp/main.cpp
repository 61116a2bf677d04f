// Inspect one picture with an engine, without Python: one JSON line with score and verdict.
// No ONNX gate, no signatures: only for engines that `pyad-edge verify` has accepted.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <iostream>
#include <nlohmann/json.hpp>

#include "engine.h"
#include "error.h"
#include "files.h"
#include "network.h"
#include "pyad/anomaly_map.h"
#include "pyad/memory_bank_head.h"
#include "pyad/parallel.h"
#include "tables.h"

namespace {

using namespace pyad::example;

struct Scores {
    float image = 0.0f, map_maximum = 0.0f, distance = 0.0f;
    int64_t patch = 0, row = 0;
};

// The kernels behind the network, prepared for one engine.
class Head {
  public:
    Head(const Engine& engine, const std::vector<Features>& like)
        : engine_(engine),
          plan_(aggregation_plan(engine, channels(like))),
          bank_(engine.tensors.at("bank/features").as<float>(), engine.rows(), engine.dims()),
          head_(plan_, bank_, engine.reweighted ? engine.neighbors : 0),
          h_(like[0].h),
          w_(like[0].w),
          map_rows_(upsample_and_smooth(h_, engine.input_size[0], engine.sigma)),
          map_columns_(upsample_and_smooth(w_, engine.input_size[1], engine.sigma)) {
        if (h_ != engine.grid[0] || w_ != engine.grid[1])
            throw Error(Code::network, "[head] expected features of " +
                                           std::to_string(engine.grid[0]) + " x " +
                                           std::to_string(engine.grid[1]) + " patches, got " +
                                           std::to_string(h_) + " x " + std::to_string(w_) + ".");
        for (const Features& level : like) {
            rows_.push_back(bilinear_upsample(level.h, h_));
            columns_.push_back(bilinear_upsample(level.w, w_));
        }
    }

    Scores score(const std::vector<Features>& features) const {
        std::vector<pyad::FeatureMap> maps;
        for (size_t l = 0; l < features.size(); ++l) {
            const bool same = features[l].h == h_ && features[l].w == w_;
            maps.push_back({features[l].data.data(), features[l].h, features[l].w,
                            same ? nullptr : &rows_[l], same ? nullptr : &columns_[l]});
        }
        Scores found;
        const int64_t patches = h_ * w_, H = engine_.input_size[0], W = engine_.input_size[1];
        std::vector<float> patch(patches), distances(patches), wide(h_ * W), map(H * W);
        std::vector<int64_t> nearest(patches);
        const auto status = head_.score(
            maps, 1, nullptr, {&found.image, patch.data(), nearest.data(), distances.data()});
        if (status != pyad::HeadStatus::ok || !std::isfinite(found.image))
            throw Error(Code::network,
                        "[head] the network's output cannot be scored: it, or a "
                        "distance to the bank, is not finite. The frame is a fault.");
        pyad::anomaly_map(patch.data(), 1, map_rows_, map_columns_, wide.data(), map.data(),
                          &found.map_maximum);
        found.patch = std::max_element(patch.begin(), patch.end()) - patch.begin();
        found.row = nearest[found.patch];
        found.distance = distances[found.patch];
        return found;
    }

  private:
    static std::vector<int64_t> channels(const std::vector<Features>& levels) {
        std::vector<int64_t> found;
        for (const Features& level : levels) found.push_back(level.channels);
        return found;
    }

    const Engine& engine_;
    pyad::AggregationPlan plan_;
    pyad::MemoryBank bank_;
    pyad::MemoryBankHead head_;
    int64_t h_, w_;
    pyad::Banded map_rows_, map_columns_;
    std::vector<pyad::Banded> rows_, columns_;
};

std::vector<float> network_input(const Engine& engine, const uint8_t* pixels, int64_t H, int64_t W,
                                 int64_t C, bool bgr) {
    const Axes axes = preprocessing_axes(engine, H, W);
    std::vector<float> input(3 * engine.input_size[0] * engine.input_size[1]);
    pyad::preprocess({pixels, 1, H, W, C, H * W * C, W * C, C, 1}, axes.rows, axes.columns,
                     normalization(engine), bgr, input.data());
    return input;
}

// The golden pictures, as at every open in Python: a drift refuses the engine.
double golden_drift(const Engine& engine, Network& network, const Head& head) {
    const pyad::example::Tensor& frames = engine.tensors.at("golden/frames");
    const float* wanted = engine.tensors.at("golden/scores").as<float>();
    const int64_t G = frames.shape[0], H = frames.shape[1], W = frames.shape[2];
    double largest = 0.0, floor = 1.17549435e-38;
    for (int64_t g = 0; g < G; ++g) floor = std::max(floor, 0.1 * std::fabs(wanted[g]));
    for (int64_t g = 0; g < G; ++g) {
        const auto input = network_input(engine, frames.data + g * H * W * 3, H, W, 3, engine.bgr);
        const float score = head.score(network.run(input.data())).image;
        const double drift = std::fabs(static_cast<double>(score) - wanted[g]) /
                             std::max<double>(std::fabs(wanted[g]), floor);
        if (!(drift <= engine.golden_tolerance))
            throw Error(Code::engine, "[golden] picture " + std::to_string(g) + " scores " +
                                          std::to_string(score) + " here, but " +
                                          std::to_string(wanted[g]) +
                                          " where the engine was made. "
                                          "Export the engine again, or use another runtime.");
        largest = std::max(largest, drift);
    }
    return largest;
}

int inspect(int argc, char** argv) {
    std::vector<std::string> places, specs;
    int threads = pyad::num_threads();
    for (int i = 1; i < argc; ++i) {
        const std::string word = argv[i];
        if (word == "--features" && i + 1 < argc)
            specs.push_back(argv[++i]);
        else if (word == "--threads" && i + 1 < argc)
            threads = std::atoi(argv[++i]);
        else
            places.push_back(word);
    }
    if (places.empty() || places.size() + !specs.empty() != 2 || threads < 1 || threads > 1024)
        throw Error(Code::setting,
                    "Usage: inspect ENGINE PICTURE [--threads N], or inspect ENGINE --features "
                    "C,h,w:FILE (one for each output of the network, the finest level first).");
    pyad::set_num_threads(threads);
    const Engine engine = read_engine(places[0]);
    nlohmann::json record = {{"engine", places[0]}, {"network", kNetwork}};

    std::vector<Features> features;
    std::unique_ptr<Network> network;
    if (specs.empty()) {
        const Picture picture = read_picture(places[1]);
        network = open_network(engine, threads);
        if (!network)
            throw Error(Code::setting,
                        "[network] this example was built without a network. Build "
                        "it with -DPYAD_EXAMPLE_NETWORK=openvino or onnxruntime, or "
                        "give --features.");
        const auto input =
            network_input(engine, picture.pixels.data(), picture.H, picture.W, picture.C, false);
        features = network->run(input.data());
        record["picture"] = places[1];
    } else {
        for (const std::string& spec : specs) features.push_back(read_features(spec));
        if (features.size() != engine.outputs.size())
            throw Error(Code::setting, "[features] expected " +
                                           std::to_string(engine.outputs.size()) + " levels, got " +
                                           std::to_string(features.size()) + ".");
    }
    const Head head(engine, features);
    if (network) record["golden_drift"] = golden_drift(engine, *network, head);
    const Scores found = head.score(features);
    const double limit = threshold(engine);
    const auto* source = engine.tensors.at("bank/sources").as<int32_t>() + 3 * found.row;
    record["verdict"] = static_cast<double>(found.image) > limit ? "NG" : "OK";
    record["score"] = static_cast<double>(found.image);
    record["threshold"] = limit;
    record["map_maximum"] = static_cast<double>(found.map_maximum);
    record["patch"] = {found.patch / engine.grid[1], found.patch % engine.grid[1]};
    record["nearest"] = {{"picture", engine.pictures[static_cast<size_t>(source[0])]},
                         {"row", source[1]},
                         {"column", source[2]},
                         {"distance", static_cast<double>(found.distance)}};
    std::cout << record.dump(-1, ' ', true) << "\n";
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    try {
        return inspect(argc, argv);
    } catch (const Error& error) {
        std::cerr << "Error: " << error.what() << "\n";
        return static_cast<int>(error.code);
    } catch (const std::exception& error) {
        std::cerr << "Error: something unexpected: " << error.what() << "\n";
        return 1;
    }
}
