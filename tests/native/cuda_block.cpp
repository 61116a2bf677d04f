// The block layer itself: fragment layouts, halves, asynchronous copies, reductions.
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "check.h"
#include "copy.h"
#include "mma.h"

namespace {

using namespace pyad::cuda;

struct Products {
    static constexpr int threads = 64;
    struct Shared {
        alignas(16) unsigned char a[16 * 32], b[8 * 32];
    };
    const unsigned char *a, *b;  // (16, 32) and (8, 32) bytes: 16 halves or 32 bytes a row
    float* halves;               // (2, 16, 8): by each warp
    int32_t* bytes;              // (16, 8)

    PYAD_DEVICE void operator()(const Block& block, Shared& shared) const {
        block.for_each_thread([&](int t) {
            if (t < 32) copy_async(t, shared.a + 16 * t, a + 16 * t);
            if (t < 16) copy_async(t, shared.b + 16 * t, b + 16 * t);
            commit_copies(t);
        });
        block.for_each_thread([&](int t) { wait_copies<0>(t); });
        block.for_each_warp([&](const Warp& warp) {
            PerLane<FragmentA> left, right;
            load_matrices(warp, left,
                          [&](int t) { return shared.a + t % 16 * 32 + t % kWarp / 16 * 16; });
            load_matrices(warp, right,
                          [&](int t) { return shared.b + t % 8 * 32 + t % 16 / 8 * 16; });
            PerLane<FragmentF32> f;
            PerLane<FragmentS32> s;
            PerLane<FragmentB> column;
            warp.for_each_lane([&](int t) {
                f[t] = {};
                s[t] = {};
                column[t] = {{right[t].reg[0], right[t].reg[1]}};
            });
            mma_f16(warp, f, left, column);
            mma_s8(warp, s, left, column);
            warp.for_each_lane([&](int t) {
                const int g = t % kWarp / 4, p = t % 4;
                for (int i = 0; i < 4; ++i) {
                    const int at = (g + i / 2 * 8) * 8 + 2 * p + i % 2;
                    halves[warp.index * 128 + at] = f[t].reg[i];
                    if (warp.index == 1) bytes[at] = s[t].reg[i];
                }
            });
        });
    }
};

PYAD_TEST(cuda_block_fragments_multiply_matrices) {
    check::Random random(1);
    std::vector<unsigned char> a(16 * 32), b(8 * 32);
    std::vector<uint16_t> x(16 * 16), y(8 * 16);
    for (auto& h : x) h = host_half_of(static_cast<float>(random.below(200) - 100) / 8.0f);
    for (auto& h : y) h = host_half_of(static_cast<float>(random.below(200) - 100) / 8.0f);
    std::memcpy(a.data(), x.data(), a.size());
    std::memcpy(b.data(), y.data(), b.size());
    for (const bool descending : {false, true}) {
        std::vector<float> halves(256);
        std::vector<int32_t> bytes(128);
        run_on_host(Products{a.data(), b.data(), halves.data(), bytes.data()}, {1}, descending);
        for (int i = 0; i < 16; ++i)
            for (int j = 0; j < 8; ++j) {
                float f = 0.0f;  // exact: multiples of 1/64
                int32_t s = 0;
                for (int k = 0; k < 16; ++k)
                    f += host_float_of_half(x[i * 16 + k]) * host_float_of_half(y[j * 16 + k]);
                for (int k = 0; k < 32; ++k)
                    s += static_cast<signed char>(a[i * 32 + k]) *
                         static_cast<signed char>(b[j * 32 + k]);
                CHECK_EQ(halves[i * 8 + j], f);
                CHECK_EQ(halves[128 + i * 8 + j], f);
                CHECK_EQ(bytes[i * 8 + j], s);
            }
    }
}

PYAD_TEST(cuda_block_halves_round_to_nearest_even) {
    int64_t wrong = 0;
    for (int bits = 0; bits < 65536; ++bits) {
        const float value = host_float_of_half(static_cast<uint16_t>(bits));
        if (!std::isnan(value)) wrong += host_half_of(value) != bits;
    }
    CHECK_EQ(wrong, 0);
    CHECK_EQ(host_half_of(1.0f + 0x1p-11f), host_half_of(1.0f));             // tie to even
    CHECK_EQ(host_half_of(1.0f + 0x3p-11f), host_half_of(1.0f + 0x2p-10f));  // tie to even
    CHECK_EQ(host_half_of(0x1p-25f), 0);
    CHECK_EQ(host_half_of(0x1.8p-25f), 1);
    CHECK_EQ(host_half_of(65519.0f), 0x7bff);
    CHECK_EQ(host_half_of(65520.0f), 0x7c00);
    CHECK_EQ(host_half_of(-std::numeric_limits<float>::infinity()), 0xfc00);
}

struct Unwaited {
    static constexpr int threads = 32;
    struct Shared {
        alignas(16) float values[4];
    };
    const float* from;
    float* out;  // before and after the wait
    PYAD_DEVICE void operator()(const Block& block, Shared& shared) const {
        block.for_each_thread([&](int t) {
            if (t == 0) copy_async(t, shared.values, from);
            commit_copies(t);
            out[0] = shared.values[0];
            commit_copies(t);
            wait_copies<1>(t);
            out[1] = shared.values[3];
        });
    }
};

PYAD_TEST(cuda_block_copies_arrive_when_waited_for) {
    const float from[4] = {1, 2, 3, 4};
    float out[2];
    run_on_host(Unwaited{from, out}, {1}, true);  // thread 0 comes last
    CHECK(std::isnan(out[0]));
    CHECK_EQ(out[1], 4.0f);
}

struct Reductions {
    static constexpr int threads = 128;
    struct Shared {
        uint64_t scratch[threads];
    };
    uint64_t* out;
    PYAD_DEVICE void operator()(const Block& block, Shared& shared) const {
        PerThread<uint64_t, threads> value;
        block.for_each_thread([&](int t) { value[t] = (uint64_t{1} << 40) + (t * 37) % threads; });
        block.reduce(value, shared.scratch, [](uint64_t a, uint64_t b) { return a > b ? a : b; });
        block.for_each_warp([&](const Warp& warp) {
            PerLane<uint64_t> sum;
            warp.for_each_lane([&](int t) { sum[t] = static_cast<uint64_t>(t); });
            warp.reduce(sum, [](uint64_t a, uint64_t b) { return a + b; });
            const uint32_t odd = warp.ballot([](int t) { return t % 2 == 1; });
            const uint64_t last = warp.broadcast(sum, 31);
            warp.for_each_lane([&](int t) {
                if (t != 96) return;
                out[0] = shared.scratch[0];
                out[1] = sum[t];
                out[2] = odd;
                out[3] = last;
            });
        });
    }
};

PYAD_TEST(cuda_block_reductions) {
    for (const bool descending : {false, true}) {
        uint64_t out[4] = {};
        run_on_host(Reductions{out}, {1}, descending);
        CHECK_EQ(out[0], (uint64_t{1} << 40) + 127);
        CHECK_EQ(out[1], uint64_t{(96 + 127) * 16});
        CHECK_EQ(out[2], uint64_t{0xaaaaaaaau});
        CHECK_EQ(out[3], out[1]);
    }
}

PYAD_TEST(cuda_block_refuses_grids_that_cuda_cannot_start) {
    constexpr int64_t most_x = (int64_t{1} << 31) - 1, most = 65535;
    const auto refused = [](Grid grid) {
        try {
            check_grid("reductions", grid);
        } catch (const std::runtime_error& error) {
            return std::string(error.what()).rfind("[reductions] expected a grid of", 0) == 0;
        }
        return false;
    };
    CHECK(!refused({most_x, most, most}));
    CHECK(refused({most_x + 1, 1, 1}));
    CHECK(refused({int64_t{1} << 32, 1, 1}));  // 0 blocks as an unsigned number
    CHECK(refused({1, most + 1, 1}));
    CHECK(refused({1, 1, most + 1}));
}

}  // namespace
