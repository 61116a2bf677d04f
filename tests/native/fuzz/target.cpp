#include "target.h"

#include <numeric>
#include <stdexcept>

#include "pyad/level.h"
#include "pyad/parallel.h"

namespace fuzz {

std::vector<Target>& targets() {
    static std::vector<Target> all;
    return all;
}

Target* target_of(const std::string& name) {
    for (Target& target : targets())
        if (target.name == name) return &target;
    return nullptr;
}

std::string names() {
    std::string all;
    for (const Target& target : targets()) all += (all.empty() ? "" : ", ") + target.name;
    return all;
}

void execute(Target& target, const uint8_t* data, size_t size) {
    static const std::vector<pyad::Level> levels = pyad::available_levels();
    target.ran.resize(levels.size());
    target.refused.resize(levels.size());
    Bytes bytes(data, size);
    const int64_t level = bytes.below(static_cast<int64_t>(levels.size()));
    pyad::set_level(pyad::level_name(levels[level]));
    // Always the same two: another number of threads makes a new pool.
    pyad::set_num_threads(bytes.one_in(32) ? 2 : 1);
    ++target.ran[level];
    try {
        target.body(bytes);
    } catch (const std::invalid_argument&) {
        ++target.refused[level];
    }
}

std::string tally(const Target& target) {
    const auto sum = [](const std::vector<int64_t>& counts) {
        return std::to_string(std::accumulate(counts.begin(), counts.end(), int64_t{0}));
    };
    std::string levels;
    for (size_t i = 0; i < target.ran.size(); ++i)
        levels += (i ? ", " : "") + std::string(pyad::level_name(pyad::available_levels()[i])) +
                  " " + std::to_string(target.ran[i]);
    return "ran " + sum(target.ran) + " (" + levels + "), refused " + sum(target.refused);
}

}  // namespace fuzz
