// CUDA form of pyad/preprocess.h: the same sums in the same order, the same bits.
//
// One launch from camera pictures to network input. A block sums the source rows of four output
// rows into shared memory, a piece of the source columns at a time, and its threads carry the
// columns' sums on from piece to piece: a picture is read from memory once, whatever its size. No
// workspace; nothing is allocated and nothing waits.
//
// Limits: as on the CPU, W * C below 2^31 - 1024, and N * tiles of 4 x 32 below 2^31.
#pragma once

#include "pyad/banded.h"
#include "pyad/preprocess.h"

namespace pyad::cuda {

// in.data and out (N, 3, h, w) lie in device memory, as do the tables of the two axes
// (pyad/cuda/banded.h). stream: a cudaStream_t.
// Throws std::invalid_argument where C is neither 1 nor 3, the maps do not fit H and W, or above
// the limits; std::runtime_error if the launch fails.
void preprocess(const Frames& in, const Banded& rows, const void* row_tables, const Banded& columns,
                const void* column_tables, const Normalization& normalization, bool bgr, float* out,
                void* stream);

}  // namespace pyad::cuda
