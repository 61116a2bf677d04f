// pyad/density_weights.h: every level and thread count, against float64.
#include "pyad/density_weights.h"

#include <cmath>

#include "check.h"
#include "digest.h"
#include "levels.h"
#include "pyad/density_arithmetic.h"
#include "rows.h"

namespace {

struct Case {
    int64_t q, Q, D;
    double beta;
};
const Case kCases[] = {{1, 1, 1, 1.0},      {5, 31, 3, 0.01},    {13, 33, 64, 10.0},
                       {31, 517, 65, 41.0}, {33, 640, 31, 90.0}, {3, 1100, 130, 1000.0}};

double unit_dot(const float* a, const float* b, int64_t D) {
    double aa = 0, bb = 0, ab = 0;
    for (int64_t d = 0; d < D; ++d) {
        aa += static_cast<double>(a[d]) * a[d];
        bb += static_cast<double>(b[d]) * b[d];
        ab += static_cast<double>(a[d]) * b[d];
    }
    return aa > 0 && bb > 0 ? ab / (std::sqrt(aa) * std::sqrt(bb)) : 0.0;
}

double exact(const float* feature, const std::vector<float>& queue, const Case& c) {
    std::vector<double> exponents;
    double largest = -c.beta, sum = 0;
    for (int64_t j = 0; j < c.Q; ++j) {
        exponents.push_back(c.beta * unit_dot(feature, queue.data() + j * c.D, c.D));
        largest = std::max(largest, exponents.back());
    }
    for (const double e : exponents) sum += std::exp(e - largest);
    return -(largest + std::log(sum));
}

}  // namespace

PYAD_TEST(density_weights_are_within_their_bound_with_the_same_bits_everywhere) {
    check::Random random(5);
    for (const Case& c : kCases) {
        std::vector<float> features = random.normals(c.q * c.D);
        std::vector<float> queue = random.normals(c.Q * c.D);
        // Rows of zeros, of the smallest and of large numbers; some features are in the queue.
        for (int64_t d = 0; d < c.D; ++d) {
            if (c.q > 2) features[c.D + d] = 0.0f;
            if (c.Q > 2) queue[2 * c.D + d] *= 0x1p-140f;
            if (c.Q > 30) queue[30 * c.D + d] = features[d] * 0x1p+100f;
        }
        std::vector<float> first;
        check::at_each_level([&](pyad::Level) {
            for (const int threads : {1, 3}) {
                const check::Threads set(threads);
                check::Poisoned<float> out(c.q);
                CHECK(pyad::density_weights(features.data(), c.q, queue.data(), c.Q, c.D, c.beta,
                                            out.data()));
                CHECK_EQ(out.untouched(), 0);
                if (first.empty()) {
                    first.assign(out.begin(), out.end());
                    const double bound =
                        c.beta * std::sqrt(static_cast<double>(c.D)) / pyad::kDensityUnit +
                        3e-6 * (1.0 + c.beta);
                    for (int64_t i = 0; i < c.q; ++i)
                        CHECK_NEAR(out[i], exact(features.data() + i * c.D, queue, c), bound);
                }
                CHECK_SAME_BITS(out.data(), first.data(), c.q);
            }
        });
    }
}

PYAD_TEST(density_weights_have_the_bits_of_other_architectures) {
    check::Random random(6);
    const std::vector<float> features = random.normals(20 * 50), queue = random.normals(600 * 50);
    std::vector<float> out(20);
    check::Digest digest;
    for (const double beta : {2.0, 30.0, 300.0}) {
        pyad::density_weights(features.data(), 20, queue.data(), 600, 50, beta, out.data());
        digest.add(out.data(), 20);
    }
    CHECK_EQ(digest.value(), 2481344005u);
}

PYAD_TEST(values_that_are_not_finite_are_told_from_others) {
    check::Random random(7);
    const int64_t D = 37;
    check::at_each_level([&](pyad::Level) {
        for (const float bad : {check::kNaN, check::kInfinity, -check::kInfinity})
            for (const int64_t at : {int64_t{0}, 3 * D + 7, 40 * D - 1}) {
                std::vector<float> rows = random.normals(40 * D), out(40);
                const std::vector<float> good = rows;
                rows[at] = bad;
                const auto run = [&](const std::vector<float>& x, const std::vector<float>& z) {
                    return pyad::density_weights(x.data(), 40, z.data(), 40, D, 5.0, out.data());
                };
                CHECK(run(good, good));
                CHECK(!run(rows, good));
                CHECK(!run(good, rows));
            }
    });
}
