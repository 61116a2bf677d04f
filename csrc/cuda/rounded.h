// Float operations rounded one by one, to nearest even: never fused, whatever the compiler's flags
// for the device; on the host the build's -ffp-contract=off does it. Included by block.h.
#pragma once

#ifndef __CUDACC__
#include <cmath>
#endif

namespace pyad::cuda {

#ifdef __CUDACC__
PYAD_DEVICE float add(float a, float b) { return __fadd_rn(a, b); }
PYAD_DEVICE float sub(float a, float b) { return __fsub_rn(a, b); }
PYAD_DEVICE float mul(float a, float b) { return __fmul_rn(a, b); }
PYAD_DEVICE float div(float a, float b) { return __fdiv_rn(a, b); }
PYAD_DEVICE float root(float a) { return __fsqrt_rn(a); }
PYAD_DEVICE double add(double a, double b) { return __dadd_rn(a, b); }
PYAD_DEVICE double sub(double a, double b) { return __dsub_rn(a, b); }
PYAD_DEVICE double mul(double a, double b) { return __dmul_rn(a, b); }
PYAD_DEVICE double div(double a, double b) { return __ddiv_rn(a, b); }
PYAD_DEVICE double root(double a) { return __dsqrt_rn(a); }
#else
inline float add(float a, float b) { return a + b; }
inline float sub(float a, float b) { return a - b; }
inline float mul(float a, float b) { return a * b; }
inline float div(float a, float b) { return a / b; }
inline float root(float a) { return std::sqrt(a); }
inline double add(double a, double b) { return a + b; }
inline double sub(double a, double b) { return a - b; }
inline double mul(double a, double b) { return a * b; }
inline double div(double a, double b) { return a / b; }
inline double root(double a) { return std::sqrt(a); }
#endif

// Atomic on global and shared memory; the value that stood there. (The host runs one thread.)
template <typename T>
PYAD_DEVICE T atomic_add(T* where, T value) {
#ifdef __CUDACC__
    return atomicAdd(where, value);
#else
    const T before = *where;
    *where = before + value;
    return before;
#endif
}
template <typename T>
PYAD_DEVICE T atomic_min(T* where, T value) {
#ifdef __CUDACC__
    return atomicMin(where, value);
#else
    const T before = *where;
    if (value < before) *where = value;
    return before;
#endif
}
template <typename T>
PYAD_DEVICE T atomic_max(T* where, T value) {
#ifdef __CUDACC__
    return atomicMax(where, value);
#else
    const T before = *where;
    if (before < value) *where = value;
    return before;
#endif
}

// Reads past the L1 cache: what atomics of this and other blocks have left there.
PYAD_DEVICE uint32_t load_fresh(const uint32_t* where) {
#ifdef __CUDACC__
    return __ldcg(where);
#else
    return *where;
#endif
}

// The bits of a float and back.
PYAD_DEVICE uint32_t bits_of(float value) {
#ifdef __CUDACC__
    return __float_as_uint(value);
#else
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
#endif
}
PYAD_DEVICE float float_of(uint32_t bits) {
#ifdef __CUDACC__
    return __uint_as_float(bits);
#else
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
#endif
}

}  // namespace pyad::cuda
