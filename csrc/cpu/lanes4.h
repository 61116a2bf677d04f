// Four floats as a vector of the compiler (SSE2 or NEON), rearranged between two of them. Nothing
// here is an inline function with outside linkage: files of any instruction set may include it.
#pragma once

#include <cstdint>

namespace pyad {
namespace {

typedef float Lanes4 __attribute__((vector_size(16)));

// Lanes i, j, k, l of a (0 to 3) and b (4 to 7).
#if defined(__clang__)
#define PYAD_PICK(a, b, i, j, k, l) __builtin_shufflevector(a, b, i, j, k, l)
#else
typedef int32_t Picks4 __attribute__((vector_size(16)));
#define PYAD_PICK(a, b, i, j, k, l) __builtin_shuffle(a, b, Picks4{i, j, k, l})
#endif

// to[c * to_stride + r] = from[r * from_stride + c] for r < rows, c < columns.
[[maybe_unused]] inline void transpose4(const float* __restrict from, int64_t from_stride,
                                        int64_t rows, int64_t columns, float* __restrict to,
                                        int64_t to_stride) {
    int64_t r = 0;
    for (; r + 4 <= rows; r += 4) {
        const float* source = from + r * from_stride;
        int64_t c = 0;
        for (; c + 4 <= columns; c += 4) {
            Lanes4 v[4];
#pragma GCC unroll 4
            for (int i = 0; i < 4; ++i) __builtin_memcpy(v + i, source + i * from_stride + c, 16);
            const Lanes4 a = PYAD_PICK(v[0], v[1], 0, 4, 1, 5);
            const Lanes4 b = PYAD_PICK(v[0], v[1], 2, 6, 3, 7);
            const Lanes4 d = PYAD_PICK(v[2], v[3], 0, 4, 1, 5);
            const Lanes4 e = PYAD_PICK(v[2], v[3], 2, 6, 3, 7);
            const Lanes4 out[4] = {PYAD_PICK(a, d, 0, 1, 4, 5), PYAD_PICK(a, d, 2, 3, 6, 7),
                                   PYAD_PICK(b, e, 0, 1, 4, 5), PYAD_PICK(b, e, 2, 3, 6, 7)};
#pragma GCC unroll 4
            for (int i = 0; i < 4; ++i) __builtin_memcpy(to + (c + i) * to_stride + r, out + i, 16);
        }
        for (; c < columns; ++c)
            for (int64_t i = 0; i < 4; ++i) to[c * to_stride + r + i] = source[i * from_stride + c];
    }
    for (; r < rows; ++r)
        for (int64_t c = 0; c < columns; ++c) to[c * to_stride + r] = from[r * from_stride + c];
}

}  // namespace
}  // namespace pyad
