#ifdef PYAD_X86_LEVELS
#include <immintrin.h>

#include "ceiling_loops.h"

namespace pyad {
namespace {

constexpr int kChains = 16;

bool runs() {
    return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vnni");
}

void int8_loop(int64_t rounds) {
    __m512i sums[kChains];
    // Different sums: equal ones would become one.
#pragma GCC unroll 16
    for (int i = 0; i < kChains; ++i) sums[i] = _mm512_set1_epi32(i);
    const __m512i a = _mm512_set1_epi8(3), b = _mm512_set1_epi8(-2);
    for (int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 16
        for (int i = 0; i < kChains; ++i) sums[i] = _mm512_dpbusd_epi32(sums[i], a, b);
    }
    for (int i = 0; i < kChains; ++i) {
        volatile int sink = _mm512_cvtsi512_si32(sums[i]);
        (void)sink;
    }
}

}  // namespace

const CeilingLoop ceiling_int8_avx512vnni{"int8.avx512vnni", runs, kChains * 64 * 2, int8_loop};

}  // namespace pyad
#endif
