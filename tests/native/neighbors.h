// The plain search that the searches are compared with.
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "check.h"
#include "pyad/nearest_neighbors.h"
#include "rows.h"

namespace check {

struct Neighbors {
    std::vector<float> distances;
    std::vector<int64_t> indices;
};

// Every pair in the canonical order of nearest_neighbors.h, sorted.
inline Neighbors plain_search(const Rows& queries, const Rows& bank, int64_t k) {
    Neighbors out;
    for (int64_t q = 0; q < queries.n; ++q) {
        std::vector<std::pair<float, int64_t>> all;
        for (int64_t m = 0; m < bank.n; ++m)
            all.emplace_back(canonical(queries.row(q), bank.row(m), bank.D), m);
        std::sort(all.begin(), all.end());
        for (int64_t j = 0; j < k; ++j) {
            out.distances.push_back(all[j].first);
            out.indices.push_back(all[j].second);
        }
    }
    return out;
}

// Searches, and holds the result to `expected`; returns how many rows were evaluated canonically.
inline int64_t search(const pyad::MemoryBank& bank, const Rows& queries, int64_t k,
                      const Neighbors& expected) {
    Poisoned<float> distances(queries.n * k);
    Poisoned<int64_t> indices(queries.n * k), evaluated(queries.n);
    bank.search(queries.data(), queries.n, k, distances.data(), indices.data(), evaluated.data());
    CHECK_SAME_BITS(indices.data(), expected.indices.data(), indices.size());
    CHECK_SAME_BITS(distances.data(), expected.distances.data(), distances.size());
    int64_t sum = 0;
    for (const int64_t rows : evaluated) {
        CHECK(rows >= k);
        sum += rows;
    }
    return sum;
}

}  // namespace check
