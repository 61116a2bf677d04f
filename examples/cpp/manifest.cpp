#include "manifest.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "sha256.h"

namespace pyad::example {
namespace {

using nlohmann::json;

const char* const kTake = "Give the path of a .pyad file that `pyad-edge train` wrote.";
const char* const kPython = "Inspect with it in Python, with pyad_edge.Runtime.";
constexpr int64_t kMaxSide = 16384;

json parsed(const std::string& text, const std::string& what) {
    json value = json::parse(text, nullptr, false);
    if (value.is_discarded()) throw Unfit(what + " that is not valid JSON");
    return value;
}

// Fields by name; a missing, mistyped or impossible one is refused.
const json& field(const json& object, const char* name) {
    if (!object.is_object() || !object.contains(name))
        throw Unfit(std::string("has a manifest without a field '") + name + "'");
    return object[name];
}

[[noreturn]] void impossible(const char* name) {
    throw Unfit(std::string("has a manifest with an impossible field '") + name + "'");
}

int64_t whole(const json& value, const char* name, int64_t least, int64_t most) {
    if (!value.is_number_integer()) impossible(name);
    if (value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(most))
        impossible(name);
    const auto number = value.get<int64_t>();
    if (number < least || number > most) impossible(name);
    return number;
}

double number(const json& value, const char* name, double least, double most) {
    if (!value.is_number()) impossible(name);
    const auto found = value.get<double>();
    if (!(found >= least && found <= most)) impossible(name);
    return found;
}

std::string text(const json& value, const char* name) {
    if (!value.is_string()) impossible(name);
    return value.get<std::string>();
}

bool either(const json& value, const char* name, const char* yes, const char* no) {
    const std::string found = text(value, name);
    if (found != yes && found != no) impossible(name);
    return found == yes;
}

std::array<int64_t, 2> size(const json& value, const char* name) {
    if (!value.is_array() || value.size() != 2) impossible(name);
    return {whole(value[0], name, 1, kMaxSide), whole(value[1], name, 1, kMaxSide)};
}

std::array<double, 3> colours(const json& value, const char* name, double least) {
    if (!value.is_array() || value.size() != 3) impossible(name);
    std::array<double, 3> found;
    for (int c = 0; c < 3; ++c) found[c] = number(value[c], name, least, 1e300);
    return found;
}

Aggregation variant_of(const json& manifest) {
    const json& aggregation = field(field(manifest, "head"), "aggregation");
    const std::string found = text(field(aggregation, "variant"), "variant");
    if (found == "official") return Aggregation::official;
    if (found == "average") return Aggregation::average;
    if (found != "sum") impossible("variant");
    return Aggregation::sum;
}

void check_version(const json& manifest) {
    if (!manifest.is_object() || manifest.value("format", json()) != "pyad_edge engine")
        throw Unfit("is not an engine: its manifest is of another format", kTake);
    const int64_t version = whole(field(manifest, "format_version"), "format_version", 1, 1 << 30);
    if (version > 4)
        throw Unfit("has engine format " + std::to_string(version) + ", but this reads up to 4",
                    "Update pyad_edge and build this example again.");
    if (manifest.contains("input"))
        throw Unfit(
            "declares its input (pixel format, size policy or region of interest), which "
            "this example leaves out",
            kPython);
    if (manifest.contains("index"))
        throw Unfit("has an approximate index, which this example leaves out", kPython);
    if (manifest.contains("members"))
        throw Unfit("is an ensemble of several networks, which this example leaves out", kPython);
    if (manifest.contains("refinement"))
        throw Unfit("refines its maps with a second network, which this example leaves out",
                    kPython);
    const std::string method = text(field(manifest, "method"), "method");
    if (method == "recontrast")
        throw Unfit(
            "compares an encoder with a decoder (recontrast), which this example leaves out",
            kPython);
    if (method == "grad")
        throw Unfit("has a network that gives the scores (grad), which this example leaves out",
                    kPython);
    if (method == "fod")
        throw Unfit("correlates patches with a reference (fod), which this example leaves out",
                    kPython);
    if (method != "patchcore" && method != "reconpatch")
        throw Unfit("was made with the method '" + method + "', unknown to this example",
                    "Update pyad_edge and build this example again.");
    const bool sum = variant_of(manifest) == Aggregation::sum;
    if (method == "reconpatch" && !sum)
        throw Unfit("contradicts itself: a reconpatch network's levels are added",
                    "Export the engine again.");
    if (version != (sum ? 4 : 1)) impossible("format_version");
}

std::map<std::string, Tensor> table(const json& entries) {
    if (!entries.is_object() || entries.empty() || entries.size() > 256) impossible("tensors");
    std::map<std::string, Tensor> tensors;
    for (const auto& [name, entry] : entries.items()) {
        Tensor tensor;
        tensor.dtype = text(field(entry, "dtype"), "dtype");
        tensor.sha256 = text(field(entry, "sha256"), "sha256");
        const json& shape = field(entry, "shape");
        if (!shape.is_array() || shape.empty() || shape.size() > 8) impossible("shape");
        for (const json& side : shape)
            tensor.shape.push_back(whole(side, "shape", 1, int64_t{1} << 33));
        tensors[name] = tensor;
    }
    return tensors;
}

const char* safetensors_name(const std::string& dtype) {
    if (dtype == "uint8") return "U8";
    if (dtype == "int32") return "I32";
    if (dtype == "float32") return "F32";
    throw Unfit("has a tensor of the type '" + dtype + "', which no such engine has");
}

}  // namespace

std::string manifest_text(const std::string& header) {
    const json found = json::parse(header, nullptr, false);
    if (found.is_discarded()) throw Unfit("is not an engine file, or its header is damaged");
    const json metadata = found.is_object() ? found.value("__metadata__", json()) : json();
    if (!metadata.is_object() || !metadata.value("pyad_edge", json()).is_string())
        throw Unfit("is a safetensors file without pyad_edge's manifest, so it is not an engine",
                    kTake);
    const auto manifest = metadata["pyad_edge"].get<std::string>();
    const std::string digest =
        sha256(reinterpret_cast<const uint8_t*>(manifest.data()), manifest.size());
    if (metadata.value("pyad_edge_sha256", json()) != digest)
        throw Unfit("is damaged: its manifest does not match its SHA-256");
    return manifest;
}

void parse_manifest(const std::string& source, Engine& engine) {
    const json manifest = parsed(source, "has a manifest");
    check_version(manifest);
    engine.tensors = table(field(manifest, "tensors"));

    const json& outputs = field(field(manifest, "backbone"), "outputs");
    if (!outputs.is_array() || outputs.empty() || outputs.size() > 16) impossible("outputs");
    for (const json& output : outputs) engine.outputs.push_back(text(output, "outputs"));

    const json& preprocessing = field(manifest, "preprocessing");
    const json& resize = field(preprocessing, "resize");
    if (resize.is_array()) {
        const auto sides = size(resize, "resize");
        engine.resize = {sides[0], sides[1]};
    } else {
        engine.resize = {whole(resize, "resize", 1, kMaxSide)};
    }
    const json& crop = field(preprocessing, "crop");
    if (!crop.is_null()) engine.crop = size(crop, "crop");
    engine.mean = colours(field(preprocessing, "mean"), "mean", -1e300);
    engine.std = colours(field(preprocessing, "std"), "std", 1e-300);
    engine.bgr = either(field(preprocessing, "color_order"), "color_order", "bgr", "rgb");

    const json& network = field(manifest, "network");
    engine.input_size = size(field(network, "input_size"), "input_size");
    engine.grid = size(field(network, "grid"), "grid");

    const json& head = field(manifest, "head");
    const json& aggregation = field(head, "aggregation");
    either(field(head, "type"), "type", "memory_bank", "memory_bank");
    engine.aggregation = variant_of(manifest);
    if (engine.aggregation == Aggregation::official) {
        engine.pre_dim = whole(field(aggregation, "pre_dim"), "pre_dim", 1, kMaxSide);
        engine.target_dim = whole(field(aggregation, "target_dim"), "target_dim", 1, kMaxSide);
    } else if (!field(aggregation, "pre_dim").is_null() ||
               !field(aggregation, "target_dim").is_null()) {
        impossible("aggregation");
    }
    engine.reweighted = either(field(head, "scoring"), "scoring", "reweighted", "maximum");
    engine.neighbors = whole(field(head, "neighbors"), "neighbors", 1, int64_t{1} << 33);
    engine.sigma = number(field(field(manifest, "anomaly_map"), "sigma"), "sigma", 0.0, 256.0);
    engine.false_reject =
        number(field(field(manifest, "threshold"), "false_reject"), "false_reject", 5e-324, 0.5);
    engine.golden_tolerance =
        number(field(field(manifest, "golden"), "tolerance"), "tolerance", 0.0, 1.0);
    const auto& model = engine.tensors.find("network/onnx");
    if (model == engine.tensors.end() ||
        field(field(manifest, "backbone"), "onnx_sha256") != model->second.sha256)
        throw Unfit("holds another network than its manifest names");
}

std::string expected_header(const std::string& source, const std::map<std::string, Tensor>& tensors,
                            const std::vector<Placed>& places) {
    const std::string digest =
        sha256(reinterpret_cast<const uint8_t*>(source.data()), source.size());
    json header = {{"__metadata__", {{"pyad_edge", source}, {"pyad_edge_sha256", digest}}}};
    for (const Placed& place : places) {
        const Tensor& tensor = tensors.at(place.name);
        header[place.name] = {{"dtype", safetensors_name(tensor.dtype)},
                              {"shape", tensor.shape},
                              {"data_offsets", {place.begin, place.end}}};
    }
    std::string body = header.dump(-1, ' ', true);  // sorted keys, no spaces, ASCII
    body.append((64 - (8 + body.size()) % 64) % 64, ' ');
    return body;
}

void check_structure(const Engine& engine) {
    static const std::map<std::string, std::pair<const char*, size_t>> expected = {
        {"network/onnx", {"uint8", 1}},         {"bank/features", {"float32", 2}},
        {"bank/sources", {"int32", 2}},         {"bank/pictures", {"uint8", 1}},
        {"calibration/scores", {"float32", 1}}, {"calibration/map_maxima", {"float32", 1}},
        {"golden/frames", {"uint8", 4}},        {"golden/scores", {"float32", 1}}};
    const auto contradiction = [](const std::string& what) {
        throw Unfit("contradicts itself: " + what, "Export the engine again.");
    };
    const auto& tensors = engine.tensors;
    if (tensors.size() != expected.size()) contradiction("it lacks a tensor, or has one too many");
    for (const auto& [name, form] : expected) {
        const auto found = tensors.find(name);
        if (found == tensors.end()) contradiction("it lacks the tensor '" + name + "'");
        if (found->second.dtype != form.first || found->second.shape.size() != form.second)
            contradiction("its tensor '" + name + "' has another type or rank");
    }
    const auto shape = [&](const char* name) { return tensors.at(name).shape; };
    const int64_t M = engine.rows(), G = shape("golden/scores")[0];
    const auto frames = shape("golden/frames");
    if (shape("bank/sources") != std::vector<int64_t>{M, 3})
        contradiction("bank and sources have different rows");
    if (shape("calibration/scores") != shape("calibration/map_maxima") ||
        shape("calibration/scores")[0] < 2)
        contradiction("its calibration scores do not fit each other, or are fewer than 2");
    if (frames[0] != G || G > 16 || frames[3] != 3 || frames[1] < 8 || frames[1] > 1024 ||
        frames[2] < 8 || frames[2] > 1024)
        contradiction("its golden pictures have an impossible shape");
    if (engine.aggregation == Aggregation::official && engine.target_dim != engine.dims())
        contradiction("its aggregation gives another length than its bank's rows have");
    if (engine.neighbors > M || (engine.reweighted && engine.neighbors < 2))
        contradiction("its neighbours do not fit its bank");
    const auto& resize = engine.resize;
    if (engine.crop) {
        const auto [h, w] = *engine.crop;
        if (resize.size() == 2 ? h > resize[0] || w > resize[1] : std::min(h, w) > resize[0])
            contradiction("its crop is too large");
        if (engine.input_size != *engine.crop) contradiction("its crop is not its network's input");
    } else if (resize.size() != 2 || resize[0] != engine.input_size[0] ||
               resize[1] != engine.input_size[1]) {
        contradiction("its preprocessing does not give its network's input");
    }
    if (engine.grid[0] > engine.input_size[0] || engine.grid[1] > engine.input_size[1])
        contradiction("its grid is finer than its network's input");
}

void parse_names(Engine& engine) {
    const Tensor& tensor = engine.tensors.at("bank/pictures");
    const json names = json::parse(tensor.data, tensor.data + tensor.bytes, nullptr, false);
    if (!names.is_array() || names.empty()) throw Unfit("has no list of its pictures");
    for (const json& name : names) engine.pictures.push_back(text(name, "bank/pictures"));
}

}  // namespace pyad::example
