// The loops behind ceiling.h, one set per instruction set.
#pragma once

#include <cstddef>
#include <cstdint>

namespace pyad {

struct CeilingLoop {
    const char* name;
    bool (*runs)();                // whether this machine has the instructions
    double operations;             // of one round
    void (*loop)(int64_t rounds);  // on one thread
};

// Reads n bytes, n a multiple of 512, and returns something that depends on all of them.
using ReadLoop = uint64_t (*)(const void* data, size_t n);

extern const CeilingLoop ceiling_fma_portable;
uint64_t read_portable(const void* data, size_t n);
#ifdef PYAD_X86_LEVELS
extern const CeilingLoop ceiling_fma_avx2, ceiling_fma_avx512, ceiling_int8_avx512vnni,
    ceiling_int8_amx, ceiling_bf16_amx;
#ifdef PYAD_AVX_VNNI_LEVEL
extern const CeilingLoop ceiling_int8_avx2vnni;
#endif
uint64_t read_avx2(const void* data, size_t n);
uint64_t read_avx512(const void* data, size_t n);
#endif

}  // namespace pyad
