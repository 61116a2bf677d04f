// Pictures (binary PPM and PGM) and features (raw float32) from files.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "network.h"

namespace pyad::example {

struct Picture {
    int64_t H, W, C;
    std::vector<uint8_t> pixels;  // (H, W, C), RGB or grey
};

Picture read_picture(const std::string& path);

// "C,h,w:PATH", little-endian.
Features read_features(const std::string& spec);

}  // namespace pyad::example
