// The JSON parts of an engine file: header, manifest, names.
#pragma once

#include <stdexcept>
#include <string>
#include <vector>

#include "engine.h"

namespace pyad::example {

// Half a sentence about a file, "is damaged: ...".
class Unfit : public std::runtime_error {
  public:
    explicit Unfit(const std::string& what, std::string way_out = "")
        : std::runtime_error(what), way_out(std::move(way_out)) {}
    std::string way_out;
};

struct Placed {
    std::string name;
    int64_t begin, end;  // from the end of the header
};

// All of these throw Unfit.

// The manifest in a header; its SHA-256 is checked.
std::string manifest_text(const std::string& header);

// Settings and tensor table, without positions.
void parse_manifest(const std::string& text, Engine& engine);

// The one header, without its length, that a file with this manifest has.
std::string expected_header(const std::string& text, const std::map<std::string, Tensor>& tensors,
                            const std::vector<Placed>& places);

// Tensors, shapes and settings that must agree with each other.
void check_structure(const Engine& engine);

// The training pictures' names, of the tensor bank/pictures.
void parse_names(Engine& engine);

}  // namespace pyad::example
