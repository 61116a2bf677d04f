// csrc/cpu/weighted_sum.h: the inner loops of the linear kernels, each level against the words.
#include "weighted_sum.h"

#include "check.h"
#include "levels.h"
#include "rows.h"

PYAD_TEST(weighted_sums_of_every_length) {
    check::Random random(1);
    for (const int64_t n : {1, 2, 3, 4, 7, 8, 15, 16, 31, 32, 33, 63, 64, 127, 128, 129, 300})
        for (const int64_t count : {1, 2, 3, 9, 33})
            for (const bool accumulate : {false, true}) {
                // A buffer of exactly the length that is read, so that sanitizers see one more.
                std::vector<int64_t> offsets(static_cast<size_t>(count));
                for (int64_t& offset : offsets) offset = random.below(50);
                offsets.back() = 50;
                const std::vector<float> source = random.normals(n + 50);
                const std::vector<float> weights = random.normals(count);
                const std::vector<float> before = random.normals(n);
                std::vector<float> expected(before);
                for (int64_t i = 0; i < n; ++i) {
                    if (!accumulate) expected[i] = 0.0f;
                    for (int64_t t = 0; t < count; ++t) {
                        const float product = weights[t] * source[offsets[t] + i];
                        expected[i] = expected[i] + product;
                    }
                }
                check::at_each_level([&](pyad::Level) {
                    check::Poisoned<float> out(n);
                    if (accumulate) std::copy(before.begin(), before.end(), out.begin());
                    pyad::linear_kernels().weighted_sum(source.data(), offsets.data(),
                                                        weights.data(), count, n, accumulate,
                                                        out.data());
                    CHECK_SAME_BITS(out.data(), expected.data(), n);
                });
            }
}

PYAD_TEST(cells_are_blended_into_their_own_places) {
    check::Random random(2);
    constexpr int64_t C = pyad::kCell;
    for (const int64_t n : {1, 2, 5, 17})
        for (const int64_t stride : {C, C + 1, 3 * C}) {
            const int64_t inputs = n + 3, taps = 3;
            const std::vector<float> cells = random.normals(inputs * C);
            const std::vector<float> weights = random.normals(n * taps);
            std::vector<int32_t> start, count;
            for (int64_t x = 0; x < n; ++x) {
                start.push_back(static_cast<int32_t>(x));
                count.push_back(static_cast<int32_t>(1 + random.below(taps)));
            }
            check::at_each_level([&](pyad::Level) {
                check::Poisoned<float> out((n - 1) * stride + C);
                pyad::linear_kernels().blend_cells(cells.data(), start.data(), count.data(),
                                                   weights.data(), taps, n, stride, out.data());
                CHECK_EQ(out.untouched(), (n - 1) * (stride - C));
                for (int64_t x = 0; x < n; ++x)
                    for (int64_t l = 0; l < C; ++l) {
                        float sum = 0.0f;
                        for (int64_t t = 0; t < count[x]; ++t) {
                            const float product =
                                weights[x * taps + t] * cells[(start[x] + t) * C + l];
                            sum = sum + product;
                        }
                        CHECK_EQ(out[x * stride + l], sum);
                    }
            });
        }
}
