// The tables of a Banded in device memory.
//
// One block of memory holds start, count and weights. Its owner packs it on the host, copies it
// once, and passes the address to every call:
//
//     std::vector<unsigned char> host(packed_bytes(map));
//     pack(map, host.data());
//     // device memory of that size, at least 16-byte aligned <- host
//     BandedView view = view_of(map, memory);
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "pyad/banded.h"

namespace pyad::cuda {

// As in pyad/banded.h; the pointers point to device memory.
struct BandedView {
    const int32_t* start;   // (rows)
    const int32_t* count;   // (rows)
    const float* weights;   // (rows, taps)
    int32_t rows, columns;  // outputs, inputs
    int32_t taps;
};

inline size_t packed_bytes(const Banded& map) {
    return sizeof(int32_t) * 2 * map.start.size() + sizeof(float) * map.weights.size();
}

inline void pack(const Banded& map, unsigned char* out) {
    const size_t bytes = sizeof(int32_t) * map.start.size();
    std::memcpy(out, map.start.data(), bytes);
    std::memcpy(out + bytes, map.count.data(), bytes);
    std::memcpy(out + 2 * bytes, map.weights.data(), sizeof(float) * map.weights.size());
}

// memory: packed_bytes(map) on the device, or on the host in tests.
inline BandedView view_of(const Banded& map, const void* memory) {
    const int32_t* start = static_cast<const int32_t*>(memory);
    const int32_t* count = start + map.rows;
    const float* weights = static_cast<const float*>(static_cast<const void*>(count + map.rows));
    return {start,
            count,
            weights,
            static_cast<int32_t>(map.rows),
            static_cast<int32_t>(map.columns),
            static_cast<int32_t>(map.taps)};
}

}  // namespace pyad::cuda
