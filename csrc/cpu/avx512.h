// The vector type of the AVX-512 levels, for screen_tile.h.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace pyad {
namespace {

// The sixteen bits of a mask. A plain conversion to 32 bits is one instruction for GCC 12, which
// then may spill 16 of them and load 32: the upper half was whatever the stack held.
inline uint32_t bits_of(__mmask16 mask) {
    asm("" : "+r"(mask));  // in a general register before it is widened
    return mask;
}

struct Avx512 {
    static constexpr int width = 16;
    using type = __m512;
    static type zero() { return _mm512_setzero_ps(); }
    static type load(const float* p) { return _mm512_loadu_ps(p); }
    static void store(float* p, type v) { _mm512_storeu_ps(p, v); }
    static type from_bytes(const uint8_t* p) {
        const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
        return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes));
    }
    static type broadcast(float x) { return _mm512_set1_ps(x); }
    static type add(type a, type b) { return _mm512_add_ps(a, b); }
    static type subtract(type a, type b) { return _mm512_sub_ps(a, b); }
    static type multiply(type a, type b) { return _mm512_mul_ps(a, b); }
    static type smaller(type a, type b) { return _mm512_min_ps(a, b); }
    static type multiply_add(type a, type b, type c) { return _mm512_fmadd_ps(a, b, c); }
    // Rounded towards zero and clamped to 0 ... 255.
    static void store_bytes(uint8_t* p, type v) {
        const type clamped = _mm512_min_ps(_mm512_max_ps(v, zero()), broadcast(255.0f));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                         _mm512_cvtepi32_epi8(_mm512_cvttps_epi32(clamped)));
    }
    // Integers from memory minus one.
    static type from_whole(const int32_t* p, int32_t minus) {
        return _mm512_cvtepi32_ps(
            _mm512_sub_epi32(_mm512_loadu_si512(p), _mm512_set1_epi32(minus)));
    }
    // Bit j set where the j-th of 32 bytes is at most `highest`.
    static uint32_t within(const uint8_t* p, uint8_t highest) {
        const __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
        return _mm256_cmple_epu8_mask(v, _mm256_set1_epi8(static_cast<char>(highest)));
    }
    static uint32_t less_equal(type a, type b) {
        return bits_of(_mm512_cmp_ps_mask(a, b, _CMP_LE_OQ));
    }
};

}  // namespace
}  // namespace pyad
