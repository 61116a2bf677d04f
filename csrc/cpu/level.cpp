#include "pyad/level.h"

#include <atomic>
#include <cstdlib>
#include <stdexcept>

#ifdef PYAD_X86_LEVELS
#include <cpuid.h>
#endif
#ifdef PYAD_AMX_LEVEL
#include <sys/syscall.h>
#include <unistd.h>
#endif
#if defined(PYAD_ARM_LEVELS) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace pyad {
namespace {

std::atomic<int> active{-1};

Level parse(const std::string& name, const char* source) {
    std::string known;
    for (const Level level : available_levels()) {
        if (name == level_name(level)) return level;
        known += std::string(known.empty() ? "" : ", ") + level_name(level);
    }
    throw std::invalid_argument("[" + std::string(source) +
                                "] expected one of the CPU levels of this machine (" + known +
                                "), got '" + name + "'.");
}

#ifdef PYAD_X86_LEVELS
struct Registers {
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
};

Registers cpuid(unsigned leaf, unsigned part) {
    Registers r;
    __get_cpuid_count(leaf, part, &r.eax, &r.ebx, &r.ecx, &r.edx);
    return r;
}
#endif

#ifdef PYAD_AMX_LEVEL
// The tile unit (AMX) needs the processor's flags and the kernel's permission to use its registers.
bool tiles_usable() {
    const unsigned d = cpuid(7, 0).edx;
    const bool tile = d & (1u << 24), int8 = d & (1u << 25), bfloat16 = d & (1u << 22);
    constexpr int request_permission = 0x1023, tile_data = 18;  // ARCH_REQ_XCOMP_PERM
    return tile && int8 && bfloat16 && syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
}
#endif

}  // namespace

const char* level_name(Level level) {
    switch (level) {
        case Level::neondot:
            return "neondot";
        case Level::neon:
            return "neon";
        case Level::avx512amx:
            return "avx512amx";
        case Level::avx512vnni:
            return "avx512vnni";
        case Level::avx512:
            return "avx512";
        case Level::avx2vnni:
            return "avx2vnni";
        case Level::avx2:
            return "avx2";
        default:
            return "portable";
    }
}

std::vector<Level> available_levels() {
    std::vector<Level> levels{Level::portable};
#ifdef PYAD_X86_LEVELS
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        levels.push_back(Level::avx2);
#ifdef PYAD_AVX_VNNI_LEVEL
        if (cpuid(7, 1).eax & (1u << 4)) levels.push_back(Level::avx2vnni);
#endif
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
            __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
            levels.push_back(Level::avx512);
            if (__builtin_cpu_supports("avx512vnni")) {
                levels.push_back(Level::avx512vnni);
#ifdef PYAD_AMX_LEVEL
                if (tiles_usable()) levels.push_back(Level::avx512amx);
#endif
            }
        }
    }
#endif
#ifdef PYAD_ARM_LEVELS
    levels.push_back(Level::neon);  // part of every 64-bit Arm
#ifdef __linux__
    const bool dot_products = getauxval(AT_HWCAP) & HWCAP_ASIMDDP;
#else
    const bool dot_products = true;  // every Apple processor that runs macOS has them
#endif
    if (dot_products) levels.push_back(Level::neondot);
#endif
    return levels;
}

Level active_level() {
    int level = active.load();
    if (level < 0) {
        const char* forced = std::getenv("PYAD_CPU_LEVEL");
        level = static_cast<int>(forced && *forced ? parse(forced, "PYAD_CPU_LEVEL")
                                                   : available_levels().back());
        active.store(level);
    }
    return static_cast<Level>(level);
}

bool has_bf16() {
#ifdef PYAD_BF16_LEVEL
    const Level level = active_level();
    return level >= Level::avx512 && level <= Level::avx512amx && (cpuid(7, 1).eax & (1u << 5));
#else
    return false;
#endif
}

void set_level(const std::string& name) {
    active.store(static_cast<int>(parse(name, "set_cpu_level")));
}

}  // namespace pyad
