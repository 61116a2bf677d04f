// A fuzz target: PYAD_FUZZ(name) { ... } in any .cpp of this folder reads arguments from `bytes`
// and calls an entry point of csrc/include/pyad. It must work inside the arrays that it was given,
// or throw std::invalid_argument. Any other exception, a sanitizer's report or a hang is a fault.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "bytes.h"

namespace fuzz {

struct Target {
    std::string name;
    void (*body)(Bytes& bytes);
    // How often it ran, and how often it refused; by CPU level, in the order of available_levels().
    std::vector<int64_t> ran, refused;
};

std::vector<Target>& targets();
// nullptr where there is none of that name.
Target* target_of(const std::string& name);
std::string names();

// Runs one input at the CPU level and the number of threads that its first bytes choose.
void execute(Target& target, const uint8_t* data, size_t size);

// "ran 100 (portable 25, avx2 75), refused 12"
std::string tally(const Target& target);

struct Registered {
    Registered(const char* name, void (*body)(Bytes&)) {
        targets().push_back({name, body, {}, {}});
    }
};

}  // namespace fuzz

#define PYAD_FUZZ(name)                                                        \
    static void pyad_fuzz_##name(fuzz::Bytes& bytes);                          \
    static const fuzz::Registered pyad_fuzzed_##name(#name, pyad_fuzz_##name); \
    static void pyad_fuzz_##name([[maybe_unused]] fuzz::Bytes& bytes)
