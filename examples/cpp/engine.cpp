#include "engine.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>

#include "error.h"
#include "manifest.h"
#include "sha256.h"

namespace pyad::example {
namespace {

constexpr int64_t kMaxFile = int64_t{8} << 30, kMaxHeader = 1 << 20;
const char* const kRecopy = "Copy the file again from where it was made, or export it again.";

[[noreturn]] void refuse(const std::string& path, const std::string& what,
                         const std::string& way_out = kRecopy) {
    throw Error(Code::engine, "[read_engine] " + path + " " + what + ". " + way_out);
}

AlignedVector<uint8_t> read_file(const std::string& path) {
    std::error_code failed;
    if (!std::filesystem::is_regular_file(path, failed))
        refuse(path, "is not there, or is no file", "Give the path of a .pyad file.");
    const auto size = static_cast<int64_t>(std::filesystem::file_size(path, failed));
    if (failed || size > kMaxFile) refuse(path, "cannot be read, or has more than 8 GiB");
    AlignedVector<uint8_t> bytes(static_cast<size_t>(size));
    std::ifstream file(path, std::ios::binary);
    file.read(reinterpret_cast<char*>(bytes.data()), size);
    if (!file || file.gcount() != size) refuse(path, "cannot be read to its end");
    return bytes;
}

std::string header_of(const AlignedVector<uint8_t>& bytes, const std::string& path) {
    const auto size = static_cast<int64_t>(bytes.size());
    if (size < 8) refuse(path, "has only " + std::to_string(size) + " bytes");
    uint64_t length = 0;
    for (int i = 7; i >= 0; --i) length = length << 8 | bytes[i];
    if (length > static_cast<uint64_t>(kMaxHeader))
        refuse(path, "is not an engine file, or its first bytes are damaged");
    if (static_cast<int64_t>(length) + 8 > size)
        refuse(path, "is cut off: it has " + std::to_string(size) +
                         " bytes, but its header alone takes " + std::to_string(length + 8));
    return {reinterpret_cast<const char*>(bytes.data()) + 8, static_cast<size_t>(length)};
}

int64_t element_size(const std::string& dtype) {
    if (dtype == "uint8") return 1;
    if (dtype == "uint16") return 2;
    return dtype == "int64" || dtype == "float64" ? 8 : 4;
}

// Wide elements first, then by name, without gaps: positions follow from the manifest alone.
std::vector<std::string> layout(const std::map<std::string, Tensor>& tensors) {
    std::vector<std::string> names;
    for (const auto& entry : tensors) names.push_back(entry.first);
    std::stable_sort(names.begin(), names.end(), [&](const auto& a, const auto& b) {
        return element_size(tensors.at(a).dtype) > element_size(tensors.at(b).dtype);
    });
    return names;
}

void check_values(const Engine& engine) {
    for (const auto& [name, tensor] : engine.tensors) {
        if (sha256(tensor.data, static_cast<size_t>(tensor.bytes)) != tensor.sha256)
            refuse(engine.path, "is damaged: its tensor '" + name + "' does not match its SHA-256");
        if (tensor.dtype != "float32") continue;
        const float* values = tensor.as<float>();
        if (!std::all_of(values, values + tensor.bytes / 4,
                         [](float v) { return std::isfinite(v); }))
            refuse(engine.path, "holds NaN or infinity in its tensor '" + name + "'");
    }
    const auto count = static_cast<int32_t>(engine.pictures.size());
    const auto* sources = engine.tensors.at("bank/sources").as<int32_t>();
    const int32_t limits[3] = {count, static_cast<int32_t>(engine.grid[0]),
                               static_cast<int32_t>(engine.grid[1])};
    for (int64_t i = 0; i < 3 * engine.rows(); ++i)
        if (sources[i] < 0 || sources[i] >= limits[i % 3])
            refuse(engine.path, "has bank rows from outside of its pictures");
    for (const char* name : {"calibration/scores", "calibration/map_maxima"}) {
        const Tensor& scores = engine.tensors.at(name);
        if (!std::is_sorted(scores.as<float>(), scores.as<float>() + scores.shape[0]))
            refuse(engine.path, "holds unsorted scores in '" + std::string(name) + "'");
    }
}

}  // namespace

Engine read_engine(const std::string& path) {
    Engine engine;
    engine.path = path;
    engine.bytes = read_file(path);
    const std::string header = header_of(engine.bytes, path);
    try {
        const std::string text = manifest_text(header);
        parse_manifest(text, engine);
        int64_t end = 0;
        std::vector<Placed> places;
        for (const std::string& name : layout(engine.tensors)) {
            Tensor& tensor = engine.tensors.at(name);
            int64_t elements = 1;
            for (const int64_t side : tensor.shape)
                if ((elements *= side) > kMaxFile) throw Unfit("has tensors of more than 8 GiB");
            tensor.bytes = elements * element_size(tensor.dtype);
            places.push_back({name, end, end + tensor.bytes});
            if ((end += tensor.bytes) > kMaxFile) throw Unfit("has tensors of more than 8 GiB");
        }
        if (header != expected_header(text, engine.tensors, places))
            throw Unfit("is damaged: its header is not the one its manifest demands");
        const int64_t begin = 8 + static_cast<int64_t>(header.size());
        const auto size = static_cast<int64_t>(engine.bytes.size());
        if (size != begin + end)
            throw Unfit(
                (size < begin + end ? "is cut off: it has " : "goes on after its end: it has ") +
                std::to_string(size) + " instead of " + std::to_string(begin + end) + " bytes");
        for (const Placed& place : places)
            engine.tensors.at(place.name).data = engine.bytes.data() + begin + place.begin;
        check_structure(engine);
        parse_names(engine);
    } catch (const Unfit& unfit) {
        refuse(path, unfit.what(), unfit.way_out.empty() ? kRecopy : unfit.way_out);
    }
    check_values(engine);
    return engine;
}

}  // namespace pyad::example
