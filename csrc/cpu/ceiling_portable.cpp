#include <cstring>

#include "ceiling_loops.h"

namespace pyad {
namespace {

constexpr int kChains = 12;  // independent sums hide the latency of each
using Vector = float __attribute__((vector_size(16)));

bool always() { return true; }

// Multiplications and additions that are not fused: the build forbids it, and so do the kernels.
void fma_loop(int64_t rounds) {
    Vector sums[kChains];
    const Vector a = {0.5f, 0.5f, 0.5f, 0.5f}, b = {1.0f, 2.0f, 3.0f, 4.0f};
    // Different sums: equal ones would become one.
    for (int i = 0; i < kChains; ++i) sums[i] = b * static_cast<float>(i);
    for (int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 16
        for (int i = 0; i < kChains; ++i) sums[i] = sums[i] * a + b;
    }
    for (int i = 0; i < kChains; ++i) {
        volatile float sink = sums[i][0];
        (void)sink;
    }
}

}  // namespace

const CeilingLoop ceiling_fma_portable{"fma.portable", always, kChains * 4 * 2, fma_loop};

uint64_t read_portable(const void* data, size_t n) {
    uint64_t sums[8] = {};
    const char* bytes = static_cast<const char*>(data);
    for (size_t i = 0; i + 64 <= n; i += 64) {
        uint64_t words[8];
        std::memcpy(words, bytes + i, 64);
        for (int l = 0; l < 8; ++l) sums[l] += words[l];
    }
    uint64_t total = 0;
    for (const uint64_t sum : sums) total += sum;
    return total;
}

}  // namespace pyad
