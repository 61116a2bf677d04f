// CUDA form of greedy_coreset: the same picks as on the CPU (pyad/greedy_coreset.h).
//
//   points  (N, P) float32     initial  (N) float32 or none     picks  (count) int64
//
// A pass is two launches. One block chooses the at most 2048 rows with the largest minimum
// distances (by their bits, exactly) and picks among them, up to 256 rows, as long as their maximum
// is above every row outside; then all rows are brought up to date with the new picks. Within the
// subset a row's value is an upper bound until it becomes the largest: only then it is brought up
// to date, and picked if it still is the largest.
//
// No pick and no pass needs the host: the passes of a finished selection return at once. A pass
// makes at least one pick, so `count` passes are always enough; most data need count / 100 or
// fewer, so that callers enqueue some, read `made`, and enqueue more.
//
// Limits: finite values, 1 <= count <= N < 2^31 - 1, P < 2^27, initial not negative. The device
// cannot refuse: a row whose initial distance is negative or NaN is never picked, and `refused`
// tells; a distance that is NaN, because a point is not finite, does not bring its row nearer.
//
// All pointers are device memory. Failures throw std::runtime_error.
#pragma once

#include <cstddef>
#include <cstdint>

namespace pyad::cuda {

// Device bytes of the state of a selection. It begins with two int64: `made`, the number of picks
// so far, and `refused`, 1 where an initial distance is negative or NaN (count may be out of
// reach).
size_t greedy_coreset_workspace(int64_t N);

// Resets the state; initial may be nullptr.
void greedy_coreset_start(const float* initial, int64_t N, void* workspace, void* stream);

// Enqueues so many passes.
void greedy_coreset_passes(const float* points, int64_t N, int64_t P, int64_t count, int64_t passes,
                           void* workspace, int64_t* picks, void* stream);

}  // namespace pyad::cuda
