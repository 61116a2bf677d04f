// csrc/cpu/ieee_arithmetic.h: callers that flush subnormal numbers to zero get the same results.
#include <thread>

#include "axes.h"
#include "check.h"
#include "ieee_arithmetic.h"
#include "levels.h"
#include "pyad/anomaly_map.h"
#include "pyad/greedy_coreset.h"
#include "pyad/nearest_neighbors.h"
#include "rows.h"

namespace {

// While it lives, subnormal numbers are flushed on this thread.
class FlushToZero {
  public:
#if defined(__SSE2__)
    FlushToZero() : saved_(_mm_getcsr()) { _mm_setcsr(saved_ | 0x8040); }
    ~FlushToZero() { _mm_setcsr(saved_); }

  private:
    unsigned saved_;
#elif defined(__aarch64__)
    FlushToZero() {
        __asm__ volatile("mrs %0, fpcr" : "=r"(saved_));
        __asm__ volatile("msr fpcr, %0" : : "r"(saved_ | (uint64_t{1} << 24)) : "memory");
    }
    ~FlushToZero() { __asm__ volatile("msr fpcr, %0" : : "r"(saved_) : "memory"); }

  private:
    uint64_t saved_;
#endif
};

// Not a constant for the compiler, and computed where it is called.
float half_of(float value) {
    volatile float half = 0.5f, x = value;
    return x * half;
}

constexpr float kSmallest = 0x1p-126f;  // normal

}  // namespace

PYAD_TEST(subnormal_numbers_are_kept_inside_and_the_setting_comes_back) {
    CHECK(half_of(kSmallest) > 0.0f);
    const FlushToZero flush;
    CHECK_EQ(half_of(kSmallest), 0.0f);
    {
        const pyad::IeeeArithmetic arithmetic;
        CHECK(half_of(kSmallest) > 0.0f);
    }
    CHECK_EQ(half_of(kSmallest), 0.0f);
}

PYAD_TEST(kernels_called_from_a_thread_that_flushes) {
    check::Random random(1);
    const check::Rows rows = check::rows_of(check::Kind::denormal, 150, 20, random);
    const std::vector<float> scores =
        check::rows_of(check::Kind::denormal, 2, 6 * 7, random).values;
    const std::vector<float> initial(150, check::kInfinity);
    const pyad::Banded map_rows = check::triangles(6, 40, 2.0);
    const pyad::Banded map_columns = check::triangles(7, 30, 2.0);
    const auto run = [&](std::vector<float>& floats, std::vector<int64_t>& integers) {
        floats.assign(150 * 2 + 2 * 40 * 30, check::kNaN);
        integers.assign(150 * 2, -1);
        pyad::MemoryBank(rows.data(), 150, 20)
            .search(rows.data(), 150, 2, floats.data(), integers.data());
        pyad::GreedyCoreset coreset(rows.data(), 150, 20, initial.data());
        while (coreset.picks().size() < 40)
            coreset.advance(40 - static_cast<int64_t>(coreset.picks().size()));
        integers.insert(integers.end(), coreset.picks().begin(), coreset.picks().end());
        std::vector<float> wide(2 * 6 * 30), maxima(2);
        pyad::anomaly_map(scores.data(), 2, map_rows, map_columns, wide.data(), floats.data() + 300,
                          maxima.data());
        floats.insert(floats.end(), maxima.begin(), maxima.end());
    };
    check::at_each_level([&](pyad::Level) {
        for (const int threads : {1, 3}) {
            const check::Threads limit(threads);
            std::vector<float> floats, flushed_floats;
            std::vector<int64_t> integers, flushed_integers;
            run(floats, integers);
            {
                const FlushToZero flush;
                run(flushed_floats, flushed_integers);
            }
            CHECK_SAME_BITS(floats.data(), flushed_floats.data(), floats.size());
            CHECK_SAME_BITS(integers.data(), flushed_integers.data(), integers.size());
        }
    });
}
