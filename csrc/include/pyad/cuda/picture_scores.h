// What stands between the search of a picture's patches and its score, on the device: roots, the
// patch that lies farthest from the bank, and its distances to the neighbours of its nearest row
// (Roth et al. 2022, eqs. 6 and 7). The exponentials of eq. 7 are left to the host: those of the
// device differ from the CPU's in the last bit, and they are a handful of numbers.
//
//   squared    (N, P) float32   in: squared distances of the search; out: 0 where not valid
//   rows       (N, P) int64     in: bank rows that it found;         out: -1 where not valid
//   distances  (N, P) float32   out: roots of squared
//   winners    (N) int64        out: the first patch with the largest squared distance among the
//                               valid ones; the first NaN if there is one; -1 where none is valid
//   around     (N, k) float32   out: canonical squared distances (pyad/nearest_neighbors.h) of the
//                               winner to the rows neighborhoods[rows[winner]], in their order; NaN
//                               where its row is -1
//
// Given the same features, all of it has the bits of the CPU: roots are correctly rounded.
// Nothing is allocated and nothing waits. One launch, a block a picture.
#pragma once

#include <cstdint>

namespace pyad::cuda {

struct PictureScores {
    int64_t N, P;
    float* squared;
    int64_t* rows;
    const uint8_t* valid;  // (N, P); nullptr: all are valid
    float* distances;
    int64_t* winners;
    const float* patches;          // (N, P, D); these four are not read where k = 0
    const float* bank;             // (M, D)
    const int64_t* neighborhoods;  // (M, k): nearest rows of each bank row
    float* around;
    int64_t D, k;
};

// All pointers are device memory. Throws std::invalid_argument where P is 2^32 - 1 or more,
// std::runtime_error if the launch fails. stream: a cudaStream_t.
void picture_scores(const PictureScores& call, void* stream);

}  // namespace pyad::cuda
