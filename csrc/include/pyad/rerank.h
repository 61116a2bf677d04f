// Re-ranking: of the rows that an approximate index proposes, the nearest by canonical distance.
//
//   queries    (Q, D) float32        rows     (M, D) float32
//   candidates (Q, c) int64, rows of the bank in any order; -1 (faiss's "not found") is passed over
//   distances  (Q, k) float32        indices  (Q, k) int64
//
// distances[q, j] is the canonical squared distance (nearest_neighbors.h) of queries[q] to the j-th
// nearest of its candidates. Candidates are ordered by (distance, index): ties go to the smallest
// index. Where a query has fewer than k candidates, the places left over hold +infinity and -1. A
// row that is named twice is returned twice.
//
// What comes back is exact for the candidates, and bit-equal to nearest_neighbors where the true
// neighbours are among them; whether they are is up to the index.
//
// Limits: queries finite, candidates -1 <= i < M, k >= 1 (the caller checks). Rows are too many to
// look through in every call: a NaN that is met in one is reported by the return value; an infinite
// row is infinitely far away. A distance that overflows float32 is +infinity.
#pragma once

#include <cstdint>

namespace pyad {

// False if a distance was NaN; distances and indices are then without meaning.
bool rerank(const float* queries, int64_t Q, int64_t D, const float* rows,
            const int64_t* candidates, int64_t c, int64_t k, float* distances, int64_t* indices);

}  // namespace pyad
