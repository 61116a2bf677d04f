// Instruction-set levels of the CPU kernels. The best one that the machine has is chosen once at
// load; the environment variable PYAD_CPU_LEVEL (portable, avx2, avx2vnni, avx512,
// avx512vnni, avx512amx; on 64-bit Arm portable, neon, neondot) forces another.
#pragma once

#include <string>
#include <vector>

namespace pyad {

enum class Level {
    portable = 0,
    avx2 = 1,
    avx2vnni = 2,
    avx512 = 3,
    avx512vnni = 4,
    avx512amx = 5,
    neon = 16,
    neondot = 17
};

const char* level_name(Level level);

// Levels that this build and this machine can run, lowest first.
std::vector<Level> available_levels();

// The level in use. Throws std::invalid_argument where PYAD_CPU_LEVEL names an unknown or missing
// one.
Level active_level();

// Whether the level in use multiplies bfloat16 numbers on this processor (AVX512_BF16): an AVX-512
// level, on some processors of avx512vnni and on all of avx512amx.
bool has_bf16();

// Changes it (tests walk every level). Throws std::invalid_argument as above.
void set_level(const std::string& name);

}  // namespace pyad
