// Tensor-core products of one warp, with the register layouts of the PTX manual ("Matrix fragments
// for mma.m16n8k16 / mma.m16n8k32"), and their emulation on the host.
//
// With g = lane / 4 and p = lane % 4, a lane holds of
//   A (16 x k, row-major)     a[0]: row g, a[1]: row g + 8, a[2]: row g, a[3]: row g + 8;
//                             a[0], a[1] from the first half of k, a[2], a[3] from the second
//   B (k x 8, column-major)   b[0]: column g, first half of k, b[1]: column g, second half
//   C, D (16 x 8)             c[0], c[1]: row g, columns 2p, 2p + 1; c[2], c[3]: row g + 8
// where a 32-bit register of A or B is 2 halves (k = 2p, 2p + 1 of its half of k, which is 8 long)
// or 4 bytes (k = 4p .. 4p + 3 of its half, which is 16 long): in both cases the bytes 4p .. 4p + 3
// of a 16-byte piece of the row. sm_75 has the half-as-deep instructions only and takes several of
// them.
#pragma once

#include "block.h"

#ifdef __CUDACC__
#include <cuda_fp16.h>
#else
#include "half.h"
#endif

namespace pyad::cuda {

struct FragmentA {
    uint32_t reg[4];
};
struct FragmentB {
    uint32_t reg[2];
};
struct FragmentF32 {
    float reg[4];
};
struct FragmentS32 {
    int32_t reg[4];
};

// IEEE half as its bits; conversions round to nearest even, overflow to infinity.
PYAD_DEVICE uint16_t half_of(float value) {
#ifdef __CUDACC__
    return __half_as_ushort(__float2half_rn(value));
#else
    return host_half_of(value);
#endif
}
PYAD_DEVICE float float_of_half(uint16_t bits) {
#ifdef __CUDACC__
    return __half2float(__ushort_as_half(bits));
#else
    return host_float_of_half(bits);
#endif
}

#ifndef __CUDACC__
// Row `row` of a 16 x k (or column of a k x 8) tile as bytes, gathered from the warp's registers.
template <int registers, typename Fragments>
void gather_row(const Fragments& fragments, int first, int row, unsigned char bytes[32]) {
    for (int p = 0; p < 4; ++p) {
        const auto& f = fragments[first + row % 8 * 4 + p];
        const int step = registers / 2, r = row / 8;
        std::memcpy(bytes + 4 * p, &f.reg[r], 4);
        std::memcpy(bytes + 16 + 4 * p, &f.reg[r + step], 4);
    }
}
#endif

// c += A B, m16n8k16, halves with float32 sums. The order and rounding of a tensor core's sums is
// not specified (it truncates); the host sums exactly as far as double does, then truncates.
template <typename C, typename A, typename B>
PYAD_DEVICE void mma_f16(const Warp& warp, C& c, const A& a, const B& b) {
#ifdef __CUDACC__
    float* d = c[0].reg;
    const uint32_t *x = a[0].reg, *y = b[0].reg;
#if __CUDA_ARCH__ >= 800
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
        "{%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3]), "r"(y[0]), "r"(y[1]));
#else
    PYAD_UNROLL
    for (int half = 0; half < 2; ++half)
        asm volatile(
            "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, "
            "{%0,%1,%2,%3};"
            : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
            : "r"(x[2 * half]), "r"(x[2 * half + 1]), "r"(y[half]));
#endif
    (void)warp;
#else
    const int first = warp.index * kWarp;
    for (int row = 0; row < 16; ++row)
        for (int column = 0; column < 8; ++column) {
            uint16_t x[16], y[16];
            gather_row<4>(a, first, row, reinterpret_cast<unsigned char*>(x));
            gather_row<2>(b, first, column, reinterpret_cast<unsigned char*>(y));
            float& out = c[first + row % 8 * 4 + column / 2].reg[row / 8 * 2 + column % 2];
            double sum = out;
            for (int k = 0; k < 16; ++k)
                sum += static_cast<double>(host_float_of_half(x[k])) * host_float_of_half(y[k]);
            out = truncated_to_float(sum);
        }
#endif
}

// c += A B, m16n8k32, signed bytes with int32 sums: exact while no sum leaves int32.
template <typename C, typename A, typename B>
PYAD_DEVICE void mma_s8(const Warp& warp, C& c, const A& a, const B& b) {
#ifdef __CUDACC__
    int32_t* d = c[0].reg;
    const uint32_t *x = a[0].reg, *y = b[0].reg;
#if __CUDA_ARCH__ >= 800
    asm volatile(
        "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
        "{%0,%1,%2,%3};"
        : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
        : "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3]), "r"(y[0]), "r"(y[1]));
#else
    PYAD_UNROLL
    for (int i = 0; i < 4; ++i)  // i / 2: half of k; i % 2: rows 0-7 or 8-15
        asm volatile("mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%0,%1}, {%2}, {%3}, {%0,%1};"
                     : "+r"(d[i % 2 * 2]), "+r"(d[i % 2 * 2 + 1])
                     : "r"(x[i]), "r"(y[i / 2]));
#endif
    (void)warp;
#else
    const int first = warp.index * kWarp;
    for (int row = 0; row < 16; ++row)
        for (int column = 0; column < 8; ++column) {
            signed char x[32], y[32];
            gather_row<4>(a, first, row, reinterpret_cast<unsigned char*>(x));
            gather_row<2>(b, first, column, reinterpret_cast<unsigned char*>(y));
            int32_t& out = c[first + row % 8 * 4 + column / 2].reg[row / 8 * 2 + column % 2];
            for (int k = 0; k < 32; ++k) out += x[k] * y[k];
        }
#endif
}

// Four 8 x 16-byte matrices from shared memory (ldmatrix.x4): register i of a lane is bytes 4p ..
// of row g of matrix i, whose row r lies at row(thread of lane 8 i + r), 16-byte aligned.
template <typename F, typename Row>
PYAD_DEVICE void load_matrices(const Warp& warp, F& fragments, const Row& row) {
#ifdef __CUDACC__
    uint32_t* r = fragments[0].reg;
    const unsigned address =
        static_cast<unsigned>(__cvta_generic_to_shared(row(static_cast<int>(threadIdx.x))));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
    (void)warp;
#else
    const int first = warp.index * kWarp;
    for (int lane = 0; lane < kWarp; ++lane)
        for (int i = 0; i < 4; ++i)
            std::memcpy(&fragments[first + lane].reg[i],
                        static_cast<const unsigned char*>(
                            static_cast<const void*>(row(first + 8 * i + lane / 4))) +
                            4 * (lane % 4),
                        4);
#endif
}

}  // namespace pyad::cuda
