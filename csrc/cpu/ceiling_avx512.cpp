#ifdef PYAD_X86_LEVELS
#include <immintrin.h>

#include "ceiling_loops.h"

namespace pyad {
namespace {

constexpr int kChains = 16;

bool runs() {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

void fma_loop(int64_t rounds) {
    __m512 sums[kChains];
    // Different sums: equal ones would become one.
#pragma GCC unroll 16
    for (int i = 0; i < kChains; ++i) sums[i] = _mm512_set1_ps(static_cast<float>(i));
    const __m512 a = _mm512_set1_ps(0.5f), b = _mm512_set1_ps(1.0f);
    for (int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 16
        for (int i = 0; i < kChains; ++i) sums[i] = _mm512_fmadd_ps(sums[i], a, b);
    }
    for (int i = 0; i < kChains; ++i) {
        volatile float sink = _mm512_cvtss_f32(sums[i]);
        (void)sink;
    }
}

}  // namespace

const CeilingLoop ceiling_fma_avx512{"fma.avx512", runs, kChains * 16 * 2, fma_loop};

uint64_t read_avx512(const void* data, size_t n) {
    const char* bytes = static_cast<const char*>(data);
    __m512i sums[8];
#pragma GCC unroll 8
    for (int l = 0; l < 8; ++l) sums[l] = _mm512_setzero_si512();
    for (size_t i = 0; i + 512 <= n; i += 512) {
#pragma GCC unroll 8
        for (int l = 0; l < 8; ++l)
            sums[l] = _mm512_xor_si512(sums[l], _mm512_loadu_si512(bytes + i + 64 * l));
    }
#pragma GCC unroll 8
    for (int l = 1; l < 8; ++l) sums[0] = _mm512_xor_si512(sums[0], sums[l]);
    uint64_t lanes[8];
    _mm512_storeu_si512(lanes, sums[0]);
    uint64_t total = 0;
    for (const uint64_t lane : lanes) total += lane;
    return total;
}

}  // namespace pyad
#endif
