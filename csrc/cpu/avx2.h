// The vector type of the AVX2 levels, for screen_tile.h.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace pyad {
namespace {

struct Avx2 {
    static constexpr int width = 8;
    using type = __m256;
    static type zero() { return _mm256_setzero_ps(); }
    static type load(const float* p) { return _mm256_loadu_ps(p); }
    static void store(float* p, type v) { _mm256_storeu_ps(p, v); }
    static type from_bytes(const uint8_t* p) {
        const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
        return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes));
    }
    static type broadcast(float x) { return _mm256_set1_ps(x); }
    static type add(type a, type b) { return _mm256_add_ps(a, b); }
    static type subtract(type a, type b) { return _mm256_sub_ps(a, b); }
    static type multiply(type a, type b) { return _mm256_mul_ps(a, b); }
    static type smaller(type a, type b) { return _mm256_min_ps(a, b); }
    static type multiply_add(type a, type b, type c) { return _mm256_fmadd_ps(a, b, c); }
    // Rounded towards zero and clamped to 0 ... 255.
    static void store_bytes(uint8_t* p, type v) {
        const type clamped = _mm256_min_ps(_mm256_max_ps(v, zero()), broadcast(255.0f));
        const __m256i whole = _mm256_cvttps_epi32(clamped);
        const __m128i words =
            _mm_packus_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256(whole, 1));
        _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packus_epi16(words, words));
    }
    // Integers from memory minus one.
    static type from_whole(const int32_t* p, int32_t minus) {
        const __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
        return _mm256_cvtepi32_ps(_mm256_sub_epi32(v, _mm256_set1_epi32(minus)));
    }
    // Bit j set where the j-th of 32 bytes is at most `highest`.
    static uint32_t within(const uint8_t* p, uint8_t highest) {
        const __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
        const __m256i less = _mm256_min_epu8(v, _mm256_set1_epi8(static_cast<char>(highest)));
        return static_cast<uint32_t>(_mm256_movemask_epi8(_mm256_cmpeq_epi8(less, v)));
    }
    static uint32_t less_equal(type a, type b) {
        return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_LE_OQ)));
    }
};

}  // namespace
}  // namespace pyad
