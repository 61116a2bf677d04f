// An AggregationPlan as flat tables, packed on the host and read by the kernel.
#pragma once

#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "pyad/patch_aggregation.h"

namespace pyad::cuda {

constexpr int kMaxLevels = 8;

// weight * in[channel, y + position / 3 - 1, x + position % 3 - 1]; at = channel * 16 + position.
struct alignas(8) AggregationEntry {  // one load
    int32_t at;
    float weight;
};

// Up to 32 neighbouring dims; bit l of `levels` is set where level l writes them.
struct AggregationBlock {
    int32_t first, last;
    uint32_t levels;
    int32_t unused;
};

// Packed: the blocks, then of each level its entries and, for each of its dims and one more, where
// in them it begins; everything rounded up to 16 bytes.
struct AggregationTables {
    struct Level {
        const AggregationEntry* entries;
        const int32_t* begin;  // of dim d: begin[d - first]
        int32_t first;
    };
    const AggregationBlock* blocks;
    Level levels[kMaxLevels];
};

inline size_t rounded_up(size_t bytes) { return (bytes + 15) / 16 * 16; }

// Calls visit(offset, bytes, level, part) for every table in order, part 0: blocks, 1: entries, 2:
// begin. Returns the size of all.
template <typename Visit>
size_t for_each_table(const AggregationPlan& plan, const Visit& visit) {
    if (plan.levels.size() > kMaxLevels)
        throw std::invalid_argument("[patch_aggregation] expected at most 8 levels, got " +
                                    std::to_string(plan.levels.size()) +
                                    ". Use the CPU form for more.");
    size_t offset = 0;
    const auto next = [&](size_t bytes, size_t level, int part) {
        visit(offset, level, part);
        offset += rounded_up(bytes);
    };
    next(sizeof(AggregationBlock) * plan.blocks.size(), 0, 0);
    for (size_t l = 0; l < plan.levels.size(); ++l) {
        next(sizeof(AggregationEntry) * plan.levels[l].entries.dim.size(), l, 1);
        next(sizeof(int32_t) * plan.levels[l].at.size(), l, 2);
    }
    return offset;
}

inline void pack_tables(const AggregationPlan& plan, unsigned char* out) {
    const size_t bytes = for_each_table(plan, [](size_t, size_t, int) {});
    std::memset(out, 0, bytes);
    for_each_table(plan, [&](size_t offset, size_t l, int part) {
        const auto put = [&](const auto& value) {
            std::memcpy(out + offset, &value, sizeof value);
            offset += sizeof value;
        };
        if (part == 0) {
            for (const AggregationPlan::Block& block : plan.blocks) {
                uint32_t levels = 0;
                for (const int32_t level : block.levels) levels |= 1u << level;
                put(AggregationBlock{static_cast<int32_t>(block.first),
                                     static_cast<int32_t>(block.last), levels, 0});
            }
            return;
        }
        const AggregationPlan::Level& level = plan.levels[l];
        const AggregationLevel& entries = level.entries;
        if (part == 1) {
            for (size_t e = 0; e < entries.dim.size(); ++e)
                put(AggregationEntry{entries.channel[e] * 16 + entries.position[e],
                                     entries.weight[e]});
            return;
        }
        for (const int64_t run : level.at)
            put(run < static_cast<int64_t>(level.runs.size())
                    ? level.runs[run].begin
                    : static_cast<int32_t>(entries.dim.size()));
    });
}

inline AggregationTables tables_at(const AggregationPlan& plan, const void* memory) {
    AggregationTables tables = {};
    for_each_table(plan, [&](size_t offset, size_t l, int part) {
        const void* at = static_cast<const unsigned char*>(memory) + offset;
        AggregationTables::Level& level = tables.levels[l];
        if (part == 0) tables.blocks = static_cast<const AggregationBlock*>(at);
        if (part == 1) level.entries = static_cast<const AggregationEntry*>(at);
        if (part == 2) level.begin = static_cast<const int32_t*>(at);
        level.first = static_cast<int32_t>(plan.levels[l].first);
    });
    return tables;
}

}  // namespace pyad::cuda
