// Tiles are used by functions that ask for them one by one, so that this file needs no flags.
#ifdef PYAD_X86_LEVELS
#include <cpuid.h>
#include <immintrin.h>

#include "ceiling_loops.h"

#ifdef __linux__
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace pyad {
namespace {

#define PYAD_AMX __attribute__((target("amx-tile,amx-int8,amx-bf16")))

struct alignas(64) TileConfig {
    uint8_t palette = 1, start = 0, reserved[14] = {};
    uint16_t columns[16] = {};  // bytes of a row
    uint8_t rows[16] = {};
};

bool runs() {
#ifdef __linux__
    unsigned a, b, c, d;
    constexpr unsigned kAll = 1u << 22 | 1u << 24 | 1u << 25;  // AMX-BF16, AMX-TILE, AMX-INT8
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & kAll) != kAll) return false;
    constexpr long kRequestPermission = 0x1023, kTileData = 18;  // arch_prctl(2)
    return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
    return false;
#endif
}

// Four sums in tiles 0 to 3, operands in 4 to 7: 16 x 16 products of 64 bytes each.
PYAD_AMX void prepare() {
    TileConfig config;
    for (int i = 0; i < 8; ++i) {
        config.columns[i] = 64;
        config.rows[i] = 16;
    }
    // GCC 12 takes the instruction to read eight bytes only and drops the other stores.
    asm volatile("" : : "r"(&config) : "memory");
    _tile_loadconfig(&config);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_zero(4);
    _tile_zero(5);
    _tile_zero(6);
    _tile_zero(7);
}

PYAD_AMX void int8_loop(int64_t rounds) {
    prepare();
    for (int64_t round = 0; round < rounds; ++round) {
        _tile_dpbusd(0, 4, 6);
        _tile_dpbusd(1, 4, 7);
        _tile_dpbusd(2, 5, 6);
        _tile_dpbusd(3, 5, 7);
    }
    _tile_release();
}

PYAD_AMX void bf16_loop(int64_t rounds) {
    prepare();
    for (int64_t round = 0; round < rounds; ++round) {
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_release();
}

}  // namespace

const CeilingLoop ceiling_int8_amx{"int8.amx", runs, 4 * 16.0 * 16 * 64 * 2, int8_loop};
const CeilingLoop ceiling_bf16_amx{"bf16.amx", runs, 4 * 16.0 * 16 * 32 * 2, bf16_loop};

}  // namespace pyad
#endif
