// pyad/correlation_divergence.h: every level and thread count, against float64 with an L x L
// tensor.
#include "pyad/correlation_divergence.h"

#include <thread>

#include "check.h"
#include "digest.h"
#include "levels.h"
#include "rows.h"

namespace {

const pyad::CorrelationShape kShapes[] = {{1, 1, 1, 1, 1, false},
                                          {2, 3, 3, 4, 5, false},
                                          {3, 2, 5, 7, 16, true},
                                          {1, 2, 1, 40, 33, true},
                                          {2, 1, 9, 13, 64, false}};

struct Work {
    Work(const pyad::CorrelationShape& shape, check::Random& random, float size = 1.0f)
        : shape(shape), scale(1.0f / static_cast<float>(shape.d)) {
        const int64_t rows = shape.N * shape.heads * shape.L();
        queries = random.normals(rows * shape.d);
        keys =
            random.normals((shape.shared_keys ? 1 : shape.N) * shape.heads * shape.L() * shape.d);
        for (float& value : queries) value *= size;
        for (int64_t i = 0; i < rows; ++i) {
            sigma_x.push_back(0.3f + static_cast<float>(random.below(64)) * 0x1p-4f);
            sigma_y.push_back(0.3f + static_cast<float>(random.below(64)) * 0x1p-4f);
        }
    }

    // per_head, then divergence; `broken` patches of each are NaN.
    std::vector<float> run(int64_t broken = 0) const {
        check::Poisoned<float> scratch(pyad::correlation_scratch(shape));
        check::Poisoned<float> per_head(shape.N * shape.heads * shape.L());
        check::Poisoned<float> divergence(shape.N * shape.L());
        pyad::correlation_divergence(shape, queries.data(), keys.data(), sigma_x.data(),
                                     sigma_y.data(), scale, scratch.data(), per_head.data(),
                                     divergence.data());
        CHECK_EQ(per_head.untouched(), broken);
        CHECK_EQ(divergence.untouched(), broken);
        std::vector<float> out(per_head.begin(), per_head.end());
        out.insert(out.end(), divergence.begin(), divergence.end());
        return out;
    }

    // The equations of the contract for row i of head m of picture n, in float64.
    double expected(int64_t n, int64_t m, int64_t i) const {
        const int64_t L = shape.L(), w = shape.w, h = shape.h;
        const int64_t row = (n * shape.heads + m) * L + i;
        const float* key =
            keys.data() + ((shape.shared_keys ? 0 : n) * shape.heads + m) * L * shape.d;
        std::vector<double> S, X = gaussian(i % w, w, sigma_x[row]);
        const std::vector<double> Y = gaussian(i / w, h, sigma_y[row]);
        for (int64_t j = 0; j < L; ++j) {
            double dot = 0.0;
            for (int64_t c = 0; c < shape.d; ++c)
                dot += static_cast<double>(queries[row * shape.d + c]) * key[j * shape.d + c];
            S.push_back(scale * dot);
        }
        const double largest = *std::max_element(S.begin(), S.end());
        double total = 0.0;
        for (double& value : S) total += value = std::exp(value - largest);
        double sum = 0.0;
        for (int64_t j = 0; j < L; ++j) {
            const double s = S[j] / total, t = X[j % w] * Y[j / w];
            sum += (s - t) * std::log((s + 1e-4) / (t + 1e-4));
        }
        return sum;
    }

    static std::vector<double> gaussian(int64_t centre, int64_t n, double sigma) {
        std::vector<double> out;
        double total = 0.0;
        for (int64_t x = 0; x < n; ++x) {
            const double distance = static_cast<double>(x - centre) / sigma;
            out.push_back(std::exp(-0.5 * distance * distance));
            total += out.back();
        }
        for (double& value : out) value /= total;
        return out;
    }

    pyad::CorrelationShape shape;
    float scale;
    std::vector<float> queries, keys, sigma_x, sigma_y;
};

}  // namespace

PYAD_TEST(divergences_are_those_of_float64_and_the_same_at_every_level) {
    check::Random random(1);
    for (const pyad::CorrelationShape& shape : kShapes)
        for (const float size : {0.0f, 1.0f, 30.0f, 1e-42f}) {
            const Work work(shape, random, size);
            const std::vector<float> first = work.run();
            const int64_t L = shape.L(), rows = shape.N * shape.heads * L;
            for (int64_t n = 0; n < shape.N; ++n)
                for (int64_t i = 0; i < L; ++i) {
                    double mean = 0.0;
                    for (int64_t m = 0; m < shape.heads; ++m) {
                        const double wanted = work.expected(n, m, i);
                        CHECK_NEAR(first[(n * shape.heads + m) * L + i], wanted,
                                   1e-5 + 1e-5 * std::fabs(wanted));
                        mean += wanted / static_cast<double>(shape.heads);
                    }
                    CHECK_NEAR(first[rows + n * L + i], mean, 1e-5 + 1e-5 * std::fabs(mean));
                }
            check::at_each_level([&](pyad::Level) {
                for (const int threads : {1, 3}) {
                    const check::Threads limit(threads);
                    const std::vector<float> again = work.run();
                    CHECK_SAME_BITS(again.data(), first.data(), first.size());
                }
            });
        }
}

PYAD_TEST(a_picture_alone_has_the_bits_it_has_in_a_batch) {
    check::Random random(2);
    const Work batch({3, 2, 4, 5, 12, true}, random);
    const std::vector<float> all = batch.run();
    const int64_t rows = 2 * 20;
    for (int64_t n = 0; n < 3; ++n) {
        Work one(batch);
        one.shape.N = 1;
        one.queries.assign(batch.queries.begin() + n * rows * 12,
                           batch.queries.begin() + (n + 1) * rows * 12);
        one.sigma_x.assign(batch.sigma_x.begin() + n * rows,
                           batch.sigma_x.begin() + (n + 1) * rows);
        one.sigma_y.assign(batch.sigma_y.begin() + n * rows,
                           batch.sigma_y.begin() + (n + 1) * rows);
        const std::vector<float> alone = one.run();
        CHECK_SAME_BITS(alone.data(), all.data() + n * rows, rows);
        CHECK_SAME_BITS(alone.data() + rows, all.data() + 3 * rows + n * 20, 20);
    }
}

PYAD_TEST(nan_stays_in_the_patch_that_holds_it) {
    check::Random random(3);
    Work work({1, 2, 3, 5, 8, true}, random);
    const std::vector<float> before = work.run();
    work.queries[(15 + 7) * 8 + 3] = check::kNaN;  // head 1, patch 7
    const std::vector<float> after = work.run(1);
    for (int64_t i = 0; i < 30 + 15; ++i) {
        if (i == 22 || i == 30 + 7)
            CHECK(after[i] != after[i]);
        else
            CHECK_EQ(after[i], before[i]);
    }
}

PYAD_TEST(several_threads_compare_at_once) {
    check::Random random(4);
    const check::Threads limit(2);
    std::vector<std::thread> callers;
    for (int caller = 0; caller < 4; ++caller)
        callers.emplace_back([shape = kShapes[1 + caller], seed = random.next()] {
            check::Random own(seed);
            const Work work(shape, own);
            const std::vector<float> first = work.run();
            for (int round = 0; round < 5; ++round) {
                const std::vector<float> again = work.run();
                CHECK_SAME_BITS(again.data(), first.data(), first.size());
            }
        });
    for (std::thread& caller : callers) caller.join();
}

PYAD_TEST(the_same_divergences_on_every_architecture) {
    check::at_each_level([](pyad::Level) {
        check::Random random(5);
        check::Digest digest;
        for (const pyad::CorrelationShape& shape : kShapes) {
            const std::vector<float> out = Work(shape, random, 3.0f).run();
            digest.add(out.data(), static_cast<int64_t>(out.size()));
        }
        CHECK_EQ(digest.value(), 3660352804u);
    });
}
