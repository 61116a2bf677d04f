// The inner loops of convolution.h, one form per instruction set.
//
// Inside, a picture's channels lie in blocks of sixteen: (C / 16, H, W, 16), rows and blocks at
// strides that leave room for a border of zeros.
#pragma once

#include <cstdint>

namespace pyad {

constexpr int64_t kBlock = 16;

// Left and right factors of products are floats, or pairs of bfloat16 in a float's place (`packed`
// 2): of two channels that follow each other, or of two pixels of a plane. A pair's products are
// added to a float32 sum, the second first, each rounded (VDPBF16PS: to nearest even, subnormal
// numbers are zero).

// Rows of the left factor of a matrix product, read where they lie: element k of part s of row r is
// first[r * stride + offsets[s] + k], k < length.
struct Rows {
    const float* first;
    int64_t stride;
    const int64_t* offsets;
    int64_t parts, length;
};

// What becomes of sums: bias and residual are added, then min(high, max(low, x)), NaN staying NaN.
// `out` and `residual` are the first pixel's first channel.
struct Epilogue {
    const float* bias;      // of the first channel
    const float* residual;  // null: none
    int64_t residual_block, residual_row;
    float* out;
    int64_t out_block, out_row;  // floats from one block, or row of pixels, to the next
    float low, high;
};

// Equal windows of pixels of one block, `step` floats from one to the next; what lies outside the
// picture is left out by the caller.
struct WindowRow {
    const float* first;
    int64_t row, height, width;
    int64_t count, step;
};

struct ConvolutionKernels {
    int64_t panel_blocks;  // blocks of output channels that are computed together
    int64_t packed;        // numbers in a float's place
    int64_t tile;          // pixels along an axis of a Winograd tile

    int64_t positions() const { return (tile + 2) * (tile + 2); }  // of a tile's transform

    // out[r * stride + j] = sum over s, k of rows[r][s][k] * panel[s * length + k][j] for r < count
    // and j < 16 * blocks; the panel is (parts * length, 16 * blocks).
    void (*multiply)(const Rows& rows, int64_t count, const float* panel, int64_t blocks,
                     float* out, int64_t stride);
    // The same sums, of `count` pixels beside each other, through the epilogue.
    void (*convolve)(const Rows& rows, int64_t count, const float* panel, int64_t blocks,
                     const Epilogue& epilogue);

    // n floats, packed; an odd one is paired with zero. Null where a float's place holds one.
    void (*pack)(const float* from, int64_t n, float* to);

    // Transforms the tile + 2 by tile + 2 pixels at `in`, one block: B^T d B to
    // out[position * stride], packed.
    void (*enter_tile)(const float* in, int64_t row, float* out, int64_t stride);
    // A^T m A of one block, its first `height` by `width` pixels through the epilogue.
    void (*leave_tile)(const float* sums, int64_t stride, int64_t height, int64_t width,
                       const Epilogue& epilogue);

    // Maximum (NaN if one is), or sum times `scale`, of each window.
    void (*maximum)(const WindowRow& windows, float* out);
    void (*average)(const WindowRow& windows, float scale, float* out);
    // min(high, max(low, a + b)) of n pixels of one block; b may be null.
    void (*add)(const float* a, const float* b, int64_t n, float low, float high, float* out);
};

extern const ConvolutionKernels convolution_portable;
#ifdef PYAD_X86_LEVELS
extern const ConvolutionKernels convolution_avx2;
extern const ConvolutionKernels convolution_avx512;
#ifdef PYAD_BF16_LEVEL
extern const ConvolutionKernels convolution_avx512bf16;
#endif
#endif

// The kernels of the level in use.
const ConvolutionKernels& convolution_kernels();

// Those that multiply in bfloat16; null where the level in use, or this processor, has none.
const ConvolutionKernels* bf16_convolution_kernels();

}  // namespace pyad
