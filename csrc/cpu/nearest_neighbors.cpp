#include "pyad/nearest_neighbors.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include "pyad/parallel.h"
#include "screen.h"

namespace pyad {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr int64_t kBlock = 192;  // queries of one block: with D = 1024 they fill 768 kB of L2

// Keeps the k best (distance, index) pairs, sorted. Filled with (infinity, M), which every row
// beats.
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

MemoryBank::MemoryBank(const float* rows, int64_t M, int64_t D)
    : kernels_(&screen_kernels()), rows_(rows, M, D, nullptr) {
    if (kernels_->quantized_tile && D <= kQuantizedDim && !rows_.huge())
        quantized_ = std::make_unique<QuantizedRows>(rows, M, D, rows_.mean(), kernels_->quantize);
}

MemoryBank::~MemoryBank() = default;

void MemoryBank::search(const float* queries, int64_t Q, int64_t k, float* distances,
                        int64_t* indices) const {
    // Equal shares for every thread, each of whole blocks.
    const int64_t rounds = (Q + kBlock * num_threads() - 1) / (kBlock * num_threads());
    const int64_t share =
        (Q + rounds * num_threads() - 1) / std::max<int64_t>(1, rounds * num_threads());
    const int64_t block = std::max<int64_t>(12, (share + 11) / 12 * 12);
    parallel_for(Q, block, [&](int64_t begin, int64_t end) {
        std::fill(distances + begin * k, distances + end * k, kInfinity);
        std::fill(indices + begin * k, indices + end * k, size());
        search_block(queries + begin * dim(), end - begin, k, distances + begin * k,
                     indices + begin * k);
    });
}

void MemoryBank::search_block(const float* queries, int64_t Q, int64_t k, float* distances,
                              int64_t* indices) const {
    const auto visit = [&](int64_t q, int64_t row) {
        insert(kernels_->canonical(queries + q * dim(), rows_.row(row), dim()), row, k,
               distances + q * k, indices + q * k);
        return distances[q * k + k - 1];
    };
    if (quantized_ && !quantized_->huge()) {
        thread_local QuantizedQueries packed;
        packed.pack(queries, Q, dim(), rows_.mean(), kernels_->MR, kernels_->quantize);
        if (!packed.huge()) {
            const auto tile = [&](int64_t g, int64_t p, uint32_t* hits, float* bounds) {
                kernels_->quantized_tile(packed.group(g), quantized_->panel(p), quantized_->quads(),
                                         hits, bounds);
            };
            screen(*quantized_, packed, Q, tile, visit);
            return;
        }
    }
    if (!rows_.huge()) {
        thread_local PackedQueries packed;
        const std::vector<float> bars(Q, kInfinity);
        packed.pack(queries, Q, rows_, kernels_->MR, bars.data());
        if (!packed.huge()) {
            screen(*kernels_, rows_, packed, Q, visit);
            return;
        }
    }
    for (int64_t q = 0; q < Q; ++q)
        for (int64_t m = 0; m < size(); ++m) visit(q, m);
}

}  // namespace pyad
