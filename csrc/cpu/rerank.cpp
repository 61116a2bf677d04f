#include "pyad/rerank.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>

#include "pyad/nearest_neighbors.h"
#include "pyad/parallel.h"

namespace pyad {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr int64_t kNone = std::numeric_limits<int64_t>::max();  // after every row, even at infinity
constexpr int64_t kGrain = 16;                                  // queries of one piece

// Rows lie far apart in memory, in no order that the hardware could guess: the next one is asked
// for while the present one is evaluated.
void prefetch_row(const float* row, int64_t D) {
    for (int64_t d = 0; d < D; d += 16) __builtin_prefetch(row + d);
}

void insert(float distance, int64_t index, int64_t k, float* distances, int64_t* indices) {
    int64_t j = k - 1;
    if (!(distance < distances[j] || (distance == distances[j] && index < indices[j]))) return;
    for (; j > 0 && (distance < distances[j - 1] ||
                     (distance == distances[j - 1] && index < indices[j - 1]));
         --j) {
        distances[j] = distances[j - 1];
        indices[j] = indices[j - 1];
    }
    distances[j] = distance;
    indices[j] = index;
}

}  // namespace

bool rerank(const float* queries, int64_t Q, int64_t D, const float* rows,
            const int64_t* candidates, int64_t c, int64_t k, float* distances, int64_t* indices) {
    std::atomic<bool> sound{true};
    parallel_for(Q, kGrain, [&](int64_t begin, int64_t end) {
        for (int64_t q = begin; q < end; ++q) {
            const int64_t* own = candidates + q * c;
            float* best = distances + q * k;
            int64_t* found = indices + q * k;
            std::fill(best, best + k, kInfinity);
            std::fill(found, found + k, kNone);
            for (int64_t i = 0; i < c; ++i) {
                if (i + 1 < c && own[i + 1] >= 0) prefetch_row(rows + own[i + 1] * D, D);
                if (own[i] < 0) continue;
                const float distance = canonical_distance(queries + q * D, rows + own[i] * D, D);
                if (std::isnan(distance)) sound.store(false);
                insert(distance, own[i], k, best, found);
            }
            std::replace(found, found + k, kNone, int64_t{-1});
        }
    });
    return sound.load();
}

}  // namespace pyad
