#include "pyad/nearest_neighbors.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <vector>

#include "pyad/parallel.h"
#include "screen.h"

namespace pyad {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr int64_t kBlock = 192;  // queries of one block: with D = 1024 they fill 768 kB of L2

// Keeps the k best (distance, index) pairs, sorted. Filled with (infinity, M), which every row beats.
void insert(float distance, int64_t index, int64_t k, float* distances, int64_t* indices) {
    const auto before = [&](int64_t j) {
        return distance < distances[j] || (distance == distances[j] && index < indices[j]);
    };
    if (!before(k - 1)) return;
    int64_t j = k - 1;
    for (; j > 0 && before(j - 1); --j) {
        distances[j] = distances[j - 1];
        indices[j] = indices[j - 1];
    }
    distances[j] = distance;
    indices[j] = index;
}

}  // namespace

float canonical_distance(const float* a, const float* b, int64_t D) {
    return screen_kernels().canonical(a, b, D);
}

bool all_finite(const float* values, int64_t n) {
    std::atomic<bool> finite{true};
    parallel_for(n, 1 << 18, [&](int64_t begin, int64_t end) {
        // x - x is 0 for finite values and NaN otherwise; sums of zeros vectorise, branches do not.
        float sums[16] = {};
        int64_t i = begin;
        for (; i + 16 <= end; i += 16)
            for (int l = 0; l < 16; ++l) sums[l] += values[i + l] - values[i + l];
        for (; i < end; ++i) sums[0] += values[i] - values[i];
        for (const float sum : sums)
            if (sum != 0.0f) finite.store(false);
    });
    return finite.load();
}

MemoryBank::MemoryBank(const float* rows, int64_t M, int64_t D) : rows_(rows, M, D, nullptr) {}

void MemoryBank::search(const float* queries, int64_t Q, int64_t k, float* distances,
                        int64_t* indices) const {
    // Equal shares for every thread, each of whole blocks.
    const int64_t rounds = (Q + kBlock * num_threads() - 1) / (kBlock * num_threads());
    const int64_t share = (Q + rounds * num_threads() - 1) / std::max<int64_t>(1, rounds * num_threads());
    const int64_t block = std::max<int64_t>(12, (share + 11) / 12 * 12);
    parallel_for(Q, block, [&](int64_t begin, int64_t end) {
        std::fill(distances + begin * k, distances + end * k, kInfinity);
        std::fill(indices + begin * k, indices + end * k, size());
        search_screened(queries + begin * dim(), end - begin, k, distances + begin * k, indices + begin * k);
    });
}

void MemoryBank::search_exact(const float* query, int64_t k, float* distances, int64_t* indices) const {
    const auto canonical = screen_kernels().canonical;
    for (int64_t m = 0; m < size(); ++m) insert(canonical(query, rows_.row(m), dim()), m, k, distances, indices);
}

void MemoryBank::search_screened(const float* queries, int64_t Q, int64_t k, float* distances,
                                 int64_t* indices) const {
    thread_local PackedQueries packed;
    const ScreenKernels& kernels = screen_kernels();
    const std::vector<float> bars(Q, kInfinity);
    if (!rows_.huge()) packed.pack(queries, Q, rows_, kernels.MR, bars.data());
    if (rows_.huge() || packed.huge()) {
        for (int64_t q = 0; q < Q; ++q)
            search_exact(queries + q * dim(), k, distances + q * k, indices + q * k);
        return;
    }
    screen(kernels, rows_, packed, Q, [&](int64_t q, int64_t row) {
        insert(kernels.canonical(queries + q * dim(), rows_.row(row), dim()), row, k, distances + q * k,
               indices + q * k);
        return distances[q * k + k - 1];
    });
}

}  // namespace pyad
