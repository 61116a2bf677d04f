#include "files.h"

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <fstream>
#include <iterator>

#include "error.h"

namespace pyad::example {
namespace {

std::vector<uint8_t> content(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::vector<uint8_t> bytes{std::istreambuf_iterator<char>(file), {}};
    if (!file.good() && !file.eof()) bytes.clear();
    return bytes;
}

}  // namespace

Picture read_picture(const std::string& path) {
    const auto refuse = [&](const std::string& what) {
        throw Error(Code::data, "[read_picture] " + path + " " + what +
                                    ". Give a binary PPM (P6) or PGM (P5) of 8 bits.");
    };
    const std::vector<uint8_t> bytes = content(path);
    size_t at = 2;
    if (bytes.size() < 2 || bytes[0] != 'P' || (bytes[1] != '5' && bytes[1] != '6'))
        refuse("is not there, or no PPM or PGM");
    int64_t numbers[3];
    for (int64_t& number : numbers) {
        while (at < bytes.size() && (std::isspace(bytes[at]) || bytes[at] == '#')) {
            if (bytes[at] == '#')
                while (at < bytes.size() && bytes[at] != '\n') ++at;
            else
                ++at;
        }
        number = 0;
        if (at >= bytes.size() || !std::isdigit(bytes[at])) refuse("has a damaged header");
        while (at < bytes.size() && std::isdigit(bytes[at]) && number < 100000)
            number = 10 * number + (bytes[at++] - '0');
    }
    ++at;  // one white space
    Picture picture{numbers[1], numbers[0], bytes[1] == '6' ? 3 : 1, {}};
    if (numbers[2] != 255) refuse("has a largest value of " + std::to_string(numbers[2]));
    for (const int64_t side : {picture.H, picture.W})
        if (side < 8 || side > 16384)
            refuse("has a side of " + std::to_string(side) + " pixels, not 8 to 16384");
    const auto size = static_cast<size_t>(picture.H * picture.W * picture.C);
    if (bytes.size() != at + size)
        refuse("has " + std::to_string(bytes.size()) + " bytes instead of " +
               std::to_string(at + size));
    picture.pixels.assign(bytes.begin() + static_cast<std::ptrdiff_t>(at), bytes.end());
    return picture;
}

Features read_features(const std::string& spec) {
    Features found{0, 0, 0, {}};
    int used = 0;
    long long c = 0, h = 0, w = 0;
    if (std::sscanf(spec.c_str(), "%6lld,%6lld,%6lld:%n", &c, &h, &w, &used) != 3 || used == 0 ||
        c < 1 || h < 1 || w < 1)
        throw Error(Code::setting, "[features] expected C,h,w:PATH, got '" + spec + "'.");
    found.channels = c, found.h = h, found.w = w;
    const std::vector<uint8_t> bytes = content(spec.substr(static_cast<size_t>(used)));
    if (bytes.size() != static_cast<size_t>(c) * h * w * sizeof(float))
        throw Error(Code::data, "[features] " + spec + ": the file has " +
                                    std::to_string(bytes.size()) +
                                    " bytes, which are not C * h * w float32.");
    found.data.resize(bytes.size() / sizeof(float));
    std::copy(bytes.begin(), bytes.end(), reinterpret_cast<uint8_t*>(found.data.data()));
    return found;
}

}  // namespace pyad::example
