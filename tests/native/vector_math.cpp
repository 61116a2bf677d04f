// pyad/vector_math.h: accuracy against the C library in float64, and the same bits in vectors.
#include "pyad/vector_math.h"

#include <algorithm>

#include "check.h"

namespace {

constexpr int W = 4;  // what every machine has; the levels' kernels test the others
typedef float Floats __attribute__((vector_size(4 * W)));

template <typename Function>
void same_in_vectors(const std::vector<float>& a, const std::vector<float>& b, Function function) {
    for (size_t i = 0; i + W <= a.size(); i += W) {
        Floats left, right;
        std::memcpy(&left, &a[i], sizeof(Floats));
        std::memcpy(&right, &b[i], sizeof(Floats));
        const Floats result = function(left, right);
        float expected[W], lanes[W];
        for (int l = 0; l < W; ++l) expected[l] = function(a[i + l], b[i + l]);
        std::memcpy(lanes, &result, sizeof(Floats));
        CHECK_SAME_BITS(lanes, expected, W);
    }
}

}  // namespace

PYAD_TEST(exp2_is_within_two_ten_millionths) {
    double worst = 0.0;
    std::vector<float> arguments;
    for (int i = -60 * 4096; i < 127 * 4096; ++i) {
        const float t = static_cast<float>(i) / 4096.0f;
        const double exact = std::exp2(static_cast<double>(t));
        worst = std::max(worst, std::fabs(pyad::exp2_of(t) - exact) / exact);
        if (i % 5 == 0) arguments.push_back(t);
    }
    CHECK_NEAR(worst, 0.0, 2e-7);
    for (int i = -60; i < 127; ++i)
        CHECK_EQ(pyad::exp2_of(static_cast<float>(i)), std::ldexp(1.0f, i));
    for (const float low : {-60.001f, -126.0f, -127.0f, -150.0f, -1e9f, -3e38f, -INFINITY}) {
        CHECK_EQ(pyad::exp2_of(low), 0.0f);
        arguments.push_back(low);
    }
    CHECK(std::isnan(pyad::exp2_of(std::numeric_limits<float>::quiet_NaN())));
    const auto exp2 = [](auto t, auto) { return pyad::exp2_of(t); };
    same_in_vectors(arguments, arguments, exp2);
}

PYAD_TEST(log_ratio_is_within_three_ten_millionths_of_itself) {
    check::Random random(1);
    std::vector<float> above, below;
    double worst = 0.0;
    for (int i = 0; i < 400000; ++i) {
        // Equal, neighbouring, of one magnitude, of any.
        const float a =
            std::ldexp(2.0f + random.uniform(), static_cast<int>(random.below(249)) - 124);
        float b =
            a * (1.0f + random.uniform() * std::ldexp(1.0f, -static_cast<int>(random.below(25))));
        if (i % 3 == 0)
            b = std::ldexp(2.0f + random.uniform(), static_cast<int>(random.below(249)) - 124);
        b = std::min(std::max(b, 0x1p-126f), 0x1p126f);
        const double exact = std::log(static_cast<double>(a) / b);
        const double error = std::fabs(pyad::log_ratio_of(a, b) - exact);
        worst = std::max(worst, exact == 0.0 ? error : error / std::fabs(exact));
        above.push_back(a);
        below.push_back(b);
    }
    CHECK_NEAR(worst, 0.0, 3e-7);
    const auto log_ratio = [](auto a, auto b) { return pyad::log_ratio_of(a, b); };
    same_in_vectors(above, below, log_ratio);
    const float nan = std::numeric_limits<float>::quiet_NaN();
    CHECK(std::isnan(pyad::log_ratio_of(nan, 1.0f)));
}
