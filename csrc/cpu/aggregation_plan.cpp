#include <algorithm>
#include <set>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>

#include "pyad/patch_aggregation.h"
#include "weighted_sum.h"

namespace pyad {
namespace {

[[noreturn]] void refuse(const std::string& what) {
    throw std::invalid_argument("[AggregationPlan] expected " + what + ".");
}

AggregationPlan::Level group(AggregationLevel entries, int64_t dims) {
    const size_t n = entries.dim.size();
    if (n == 0 || entries.channel.size() != n || entries.position.size() != n ||
        entries.weight.size() != n)
        refuse("at least one entry per level, each with dim, channel, position and weight");
    const auto key = [&](size_t i) {
        return std::make_tuple(entries.dim[i], entries.channel[i], entries.position[i]);
    };
    AggregationPlan::Level level;
    level.first = entries.dim.front();
    level.last = int64_t{entries.dim.back()} + 1;
    for (size_t i = 0; i < n; ++i) {
        if (entries.dim[i] < 0 || entries.dim[i] >= dims || entries.channel[i] < 0 ||
            entries.channel[i] >= entries.channels || entries.position[i] < 0 ||
            entries.position[i] > 8)
            refuse("entry " + std::to_string(i) +
                   " inside the level's dims, channels and 3x3 window");
        if (i > 0 && (!(key(i - 1) < key(i)) || entries.dim[i] - 1 > entries.dim[i - 1]))
            refuse("entries sorted by (dim, channel, position) without gaps between dims");
        const bool new_dim = i == 0 || entries.dim[i] != entries.dim[i - 1];
        if (new_dim) level.at.push_back(static_cast<int64_t>(level.runs.size()));
        const int32_t at = static_cast<int32_t>(i);
        if (new_dim || entries.channel[i] != entries.channel[i - 1])
            level.runs.push_back({entries.channel[i], at, at});
        level.runs.back().end = at + 1;
    }
    level.at.push_back(static_cast<int64_t>(level.runs.size()));
    level.entries = std::move(entries);
    return level;
}

}  // namespace

AggregationPlan::AggregationPlan(int64_t dims_, std::vector<AggregationLevel> entries)
    : dims(dims_) {
    if (dims < 1) refuse("descriptors of at least one dim, got " + std::to_string(dims));
    std::set<int64_t> cuts{0, dims};
    for (auto& level : entries) {
        levels.push_back(group(std::move(level), dims));
        cuts.insert({levels.back().first, levels.back().last});
    }
    for (auto cut = cuts.begin(); *cut < dims; ++cut) {
        const int64_t end = *std::next(cut);
        Block block{};
        for (size_t l = 0; l < levels.size(); ++l)
            if (levels[l].first <= *cut && end <= levels[l].last)
                block.levels.push_back(static_cast<int32_t>(l));
        if (block.levels.empty()) refuse("dims " + std::to_string(*cut) + " and on to be written");
        for (block.first = *cut; block.first < end; block.first = block.last) {
            block.last = std::min(end, block.first + kCell);
            blocks.push_back(block);
        }
    }
}

}  // namespace pyad
