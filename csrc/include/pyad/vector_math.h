// 2^t and log(a / b), written once for a float and for vectors of floats (the compilers' vector
// extension): every CPU level and CUDA run the same operations in the same order, none of them
// fused, and get the same bits.
#pragma once

#include <cstdint>
#include <cstring>

#ifdef __CUDACC__
#define PYAD_EVERYWHERE __host__ __device__ __forceinline__
#else
#define PYAD_EVERYWHERE inline
#endif

namespace pyad {
namespace {  // a level's copy must not become everybody's

// The bits of a vector of floats and back; signed whole numbers to floats.
template <typename F>
struct Numbers;

#ifndef __CUDACC__
template <typename F>
struct Numbers {
    typedef uint32_t words __attribute__((vector_size(sizeof(F))));
    typedef int32_t whole __attribute__((vector_size(sizeof(F))));
    static words bits(F x) { return (words)x; }
    static F from_bits(words x) { return (F)x; }
    static F from_whole(words x) { return __builtin_convertvector((whole)x, F); }
};
#endif

template <>
struct Numbers<float> {
    using words = uint32_t;
    PYAD_EVERYWHERE static words bits(float x) {
        words bits;
        memcpy(&bits, &x, sizeof(bits));
        return bits;
    }
    PYAD_EVERYWHERE static float from_bits(words bits) {
        float x;
        memcpy(&x, &bits, sizeof(x));
        return x;
    }
    PYAD_EVERYWHERE static float from_whole(words x) {
        return static_cast<float>(static_cast<int32_t>(x));
    }
};

// 2^t for t < 127, relative error below 2e-7; NaN for NaN. 0 for t < -60, so that a product of two
// results is never subnormal, which would cost hundreds of cycles.
template <typename F>
PYAD_EVERYWHERE F exp2_of(F t) {
    using N = Numbers<F>;
    // The low bits of t + magic are round(t) + 127, the exponent field of 2^round(t).
    const float magic = 0x1.8p+23f + 127.0f;
    const F rounded = t + magic;
    const F f = t - (rounded - magic);
    F p = f * 0x1.5bba14p-10f + 0x1.3cea88p-7f;  // minimax of 2^f, |f| <= 1/2, with 2^0 = 1
    p = p * f + 0x1.c6b752p-5f;
    p = p * f + 0x1.ebf9bcp-3f;
    p = p * f + 0x1.62e42ap-1f;
    p = p * f + 1.0f;
    const F value = p * N::from_bits(N::bits(rounded) << 23);
    return t < -60.0f ? F{} : value;
}

// log(a / b) for 2^-126 <= a, b <= 2^126, error below 3e-7 |log(a / b)|; NaN if a is. One division:
// b is brought next to a by a power of two first, so that s below stays within 0.2.
template <typename F>
PYAD_EVERYWHERE F log_ratio_of(F a, F b) {
    using N = Numbers<F>;
    const auto power = (N::bits(a) - N::bits(b) + 0x400000u) & 0xff800000u;  // times 2^23
    const F near = N::from_bits(N::bits(b) + power);
    const F s = (a - near) / (a + near);
    const F z = s * s;
    F p = z * 0x1.36eca2p-2f + 0x1.992ab2p-2f;  // minimax of 2 atanh(s) / s
    p = p * z + 0x1.5555b4p-1f;
    p = p * z + 2.0f;
    return N::from_whole(power) * 0x1.62e43p-24f + s * p;  // log(2) 2^-23
}

}  // namespace
}  // namespace pyad
