#ifdef PYAD_X86_LEVELS
#include <immintrin.h>

#include "ceiling_loops.h"

namespace pyad {
namespace {

constexpr int kChains = 12;  // and two constants: 14 of the 16 registers

bool runs() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

void fma_loop(int64_t rounds) {
    __m256 sums[kChains];
    // Different sums: equal ones would become one.
#pragma GCC unroll 16
    for (int i = 0; i < kChains; ++i) sums[i] = _mm256_set1_ps(static_cast<float>(i));
    const __m256 a = _mm256_set1_ps(0.5f), b = _mm256_set1_ps(1.0f);
    for (int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 16
        for (int i = 0; i < kChains; ++i) sums[i] = _mm256_fmadd_ps(sums[i], a, b);
    }
    for (int i = 0; i < kChains; ++i) {
        volatile float sink = _mm256_cvtss_f32(sums[i]);
        (void)sink;
    }
}

}  // namespace

const CeilingLoop ceiling_fma_avx2{"fma.avx2", runs, kChains * 8 * 2, fma_loop};

uint64_t read_avx2(const void* data, size_t n) {
    const char* bytes = static_cast<const char*>(data);
    __m256i sums[8];
#pragma GCC unroll 8
    for (int l = 0; l < 8; ++l) sums[l] = _mm256_setzero_si256();
    for (size_t i = 0; i + 256 <= n; i += 256) {
#pragma GCC unroll 8
        for (int l = 0; l < 8; ++l)
            sums[l] = _mm256_xor_si256(
                sums[l], _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes + i + 32 * l)));
    }
#pragma GCC unroll 8
    for (int l = 1; l < 8; ++l) sums[0] = _mm256_xor_si256(sums[0], sums[l]);
    return static_cast<uint64_t>(_mm256_extract_epi64(sums[0], 0)) +
           static_cast<uint64_t>(_mm256_extract_epi64(sums[0], 2));
}

}  // namespace pyad
#endif
