#ifdef PYAD_AVX_VNNI_LEVEL
#include <cpuid.h>
#include <immintrin.h>

#include "ceiling_loops.h"

namespace pyad {
namespace {

constexpr int kChains = 12;  // and two operands: 14 of the 16 registers

bool runs() {
    unsigned a, b, c, d;
    constexpr unsigned kAvxVnni = 1u << 4;
    return __builtin_cpu_supports("avx2") && __get_cpuid_count(7, 1, &a, &b, &c, &d) &&
           (a & kAvxVnni);
}

void int8_loop(int64_t rounds) {
    __m256i sums[kChains];
    // Different sums: equal ones would become one.
#pragma GCC unroll 16
    for (int i = 0; i < kChains; ++i) sums[i] = _mm256_set1_epi32(i);
    const __m256i a = _mm256_set1_epi8(3), b = _mm256_set1_epi8(-2);
    for (int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 16
        for (int i = 0; i < kChains; ++i) sums[i] = _mm256_dpbusd_avx_epi32(sums[i], a, b);
    }
    for (int i = 0; i < kChains; ++i) {
        volatile int sink = _mm_cvtsi128_si32(_mm256_castsi256_si128(sums[i]));
        (void)sink;
    }
}

}  // namespace

const CeilingLoop ceiling_int8_avx2vnni{"int8.avx2vnni", runs, kChains * 32 * 2, int8_loop};

}  // namespace pyad
#endif
