#include "pyad/level.h"

#include <atomic>
#include <cstdlib>
#include <stdexcept>

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

}  // namespace

const char* level_name(Level level) {
    switch (level) {
        case Level::neondot:
            return "neondot";
        case Level::neon:
            return "neon";
        case Level::avx512vnni:
            return "avx512vnni";
        case Level::avx512:
            return "avx512";
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
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
            __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
            levels.push_back(Level::avx512);
            if (__builtin_cpu_supports("avx512vnni")) levels.push_back(Level::avx512vnni);
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

void set_level(const std::string& name) {
    active.store(static_cast<int>(parse(name, "set_cpu_level")));
}

}  // namespace pyad
