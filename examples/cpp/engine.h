// An engine file (docs/engine-format.md), read into memory and checked.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "pyad/aligned.h"

namespace pyad::example {

struct Tensor {
    std::string dtype, sha256;
    std::vector<int64_t> shape;
    const uint8_t* data = nullptr;  // into Engine::bytes
    int64_t bytes = 0;

    template <typename T>
    const T* as() const {
        return reinterpret_cast<const T*>(data);
    }
};

// How levels become one descriptor: patch_aggregation's variants.
enum class Aggregation { official, average, sum };

// What the manifest says, as far as a picture's score depends on it. Sizes are (height, width).
struct Engine {
    AlignedVector<uint8_t> bytes;  // the whole file
    std::map<std::string, Tensor> tensors;
    std::string path;

    std::vector<std::string> outputs;  // of the network, the finest level first
    std::vector<int64_t> resize;       // both sides, or the shorter one alone
    std::optional<std::array<int64_t, 2>> crop;
    std::array<double, 3> mean, std;  // RGB
    bool bgr = false;                 // order of the frames that come
    std::array<int64_t, 2> input_size, grid;
    Aggregation aggregation = Aggregation::official;
    int64_t pre_dim = 0, target_dim = 0;
    bool reweighted = true;  // else the maximum
    int64_t neighbors = 0;
    double sigma = 0.0, false_reject = 0.0, golden_tolerance = 0.0;
    std::vector<std::string> pictures;  // behind the bank

    int64_t rows() const { return tensors.at("bank/features").shape[0]; }
    int64_t dims() const { return tensors.at("bank/features").shape[1]; }
};

// Throws Error where the file is missing, damaged, foreign, too new, or has what this example
// leaves out: a declared input, an approximate index, an ensemble, a refinement, another head.
Engine read_engine(const std::string& path);

}  // namespace pyad::example
