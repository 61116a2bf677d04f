// pyad/convolution.h.
#include "pyad/convolution.h"

#include <algorithm>
#include <stdexcept>
#include <thread>

#include "check.h"
#include "levels.h"
#include "pyad/level.h"
#include "rows.h"

namespace {

using pyad::ConvolutionForm;
using pyad::ConvolutionNetwork;
using pyad::ConvolutionPlan;
using Floats = std::vector<float>;

struct Case {
    int64_t N, C, H, W, K;
    pyad::Windows windows;
    ConvolutionForm form;
};

// Sides that no tile divides, channels that no block divides, paddings of each side their own.
const std::vector<Case> kCases{
    {1, 3, 23, 30, 20, {7, 7, 2, 2, 3, 3, 3, 3}, ConvolutionForm::automatic},
    {2, 5, 9, 8, 40, {5, 4, 1, 3, 2, 1, 0, 3}, ConvolutionForm::automatic},
    {2, 20, 9, 13, 33, {3, 3, 1, 1, 1, 1, 1, 1}, ConvolutionForm::direct},
    {2, 20, 9, 13, 33, {3, 3, 1, 1, 1, 1, 1, 1}, ConvolutionForm::winograd},
    {1, 3, 6, 5, 17, {3, 3, 1, 1, 2, 0, 1, 2}, ConvolutionForm::winograd},
    {3, 16, 16, 12, 48, {3, 3, 1, 1, 1, 1, 1, 1}, ConvolutionForm::automatic},
    {1, 160, 4, 7, 150, {3, 3, 1, 1, 1, 1, 1, 1}, ConvolutionForm::winograd},
    {1, 33, 15, 18, 50, {1, 1, 2, 2, 0, 0, 0, 0}, ConvolutionForm::automatic},
    {2, 17, 11, 6, 16, {3, 3, 2, 2, 1, 0, 0, 1}, ConvolutionForm::automatic},
    {1, 16, 2, 1, 16, {2, 1, 1, 1, 0, 0, 0, 0}, ConvolutionForm::automatic},
};

Floats normals(int64_t n, check::Random& random) {
    Floats values(n);
    for (float& value : values) value = random.normal();
    return values;
}

// A convolution in float64, and the sums of absolute products.
void expect(const Case& c, const pyad::TensorShape& out, const Floats& x, const Floats& w,
            const Floats& bias, std::vector<double>& sums, std::vector<double>& sizes) {
    const pyad::Windows& v = c.windows;
    for (int64_t n = 0; n < c.N; ++n)
        for (int64_t k = 0; k < c.K; ++k)
            for (int64_t i = 0; i < out.H; ++i)
                for (int64_t j = 0; j < out.W; ++j) {
                    double sum = bias[k], size = std::fabs(sum);
                    for (int64_t ch = 0; ch < c.C; ++ch)
                        for (int64_t p = 0; p < v.height; ++p)
                            for (int64_t q = 0; q < v.width; ++q) {
                                const int64_t y = i * v.stride_y + p - v.top,
                                              z = j * v.stride_x + q - v.left;
                                if (y < 0 || y >= c.H || z < 0 || z >= c.W) continue;
                                const double product =
                                    static_cast<double>(x[((n * c.C + ch) * c.H + y) * c.W + z]) *
                                    w[((k * c.C + ch) * v.height + p) * v.width + q];
                                sum += product;
                                size += std::fabs(product);
                            }
                    sums.push_back(sum);
                    sizes.push_back(size);
                }
}

// body(bf16), at each level, with factors of either precision that it has.
template <typename Body>
void at_each_precision(const Body& body) {
    check::at_each_level([&](pyad::Level) {
        body(false);
        if (pyad::has_bf16()) body(true);
    });
}

Floats run(const std::shared_ptr<ConvolutionNetwork>& network, int64_t tensor, int64_t N,
           const Floats& x, int threads = 2) {
    const pyad::TensorShape& shape = network->shape(tensor);
    Floats out(N * shape.C * shape.H * shape.W, check::kNaN);
    ConvolutionPlan(network, {tensor}, N, threads).run(x.data(), {out.data()});
    return out;
}

// Like ResNet's first layers: a convolution that is pooled, then two with residuals.
std::vector<int64_t> small_network(ConvolutionNetwork& network, check::Random& random) {
    const pyad::Clip relu{0.0f};
    const Floats stem = normals(20 * 3 * 25, random), bias = normals(48, random);
    const Floats first = normals(48 * 20 * 9, random), second = normals(48 * 48 * 9, random),
                 shortcut = normals(48 * 20, random);
    const int64_t a =
        network.convolution(0, stem.data(), bias.data(), 20, {5, 5, 1, 1, 2, 2, 2, 2}, -1, relu);
    const int64_t b = network.maximum(a, {3, 3, 2, 2, 1, 1, 1, 1});
    const int64_t s = network.convolution(b, shortcut.data(), bias.data(), 48, {1, 1, 1, 1});
    const int64_t d =
        network.convolution(b, first.data(), bias.data(), 48, {3, 3, 1, 1, 1, 1, 1, 1}, -1, relu);
    const int64_t e =
        network.convolution(d, second.data(), bias.data(), 48, {3, 3, 1, 1, 1, 1, 1, 1}, s, relu);
    return {a, b, s, d, e};
}

}  // namespace

PYAD_TEST(convolutions_are_those_of_float64_for_any_batch_and_threads) {
    check::Random random(1);
    for (const Case& c : kCases) {
        const Floats x = normals(c.N * c.C * c.H * c.W, random), bias = normals(c.K, random);
        const Floats w = normals(c.K * c.C * c.windows.height * c.windows.width, random);
        at_each_precision([&](bool bf16) {
            auto network = std::make_shared<ConvolutionNetwork>(c.C, c.H, c.W, bf16);
            const int64_t y =
                network->convolution(0, w.data(), bias.data(), c.K, c.windows, -1, {}, c.form);
            std::vector<double> sums, sizes;
            expect(c, network->shape(y), x, w, bias, sums, sizes);
            const bool winograd = network->steps()[0].winograd;
            const Floats out = run(network, y, c.N, x);
            const double largest = *std::max_element(sizes.begin(), sizes.end());
            const double terms = static_cast<double>(c.C * c.windows.height * c.windows.width + 2);
            // Of planes at an odd stride products are float32.
            const bool rounded = network->steps()[0].bf16;
            CHECK_EQ(rounded, bf16 && (winograd || c.C >= 16 || c.windows.stride_x % 2 == 0));
            for (size_t i = 0; i < out.size(); ++i)
                CHECK_NEAR(out[i], sums[i],
                           winograd ? (rounded ? 0x1p-7 : 0x1p-18) * largest
                                    : (terms * 0x1p-24 + (rounded ? 0x1.01p-8 : 0)) * sizes[i]);
            for (const int threads : {1, 3}) {
                const check::Threads limit(threads);
                CHECK(run(network, y, c.N, x, threads) == out);
            }
            const int64_t one = c.C * c.H * c.W, size = static_cast<int64_t>(out.size()) / c.N;
            for (int64_t n = 0; n < c.N; ++n) {
                const Floats alone(x.begin() + n * one, x.begin() + (n + 1) * one);
                CHECK(run(network, y, 1, alone) ==
                      Floats(out.begin() + n * size, out.begin() + (n + 1) * size));
            }
        });
    }
}

PYAD_TEST(memory_that_steps_share_in_turn_and_pooling_at_once_change_nothing) {
    check::Random random(2);
    const Floats x = normals(2 * 3 * 21 * 26, random);
    at_each_precision([&](bool bf16) {
        check::Random weights(3);
        auto network = std::make_shared<ConvolutionNetwork>(3, 21, 26, bf16);
        const std::vector<int64_t> tensors = small_network(*network, weights);
        // All tensors as outputs: each has memory of its own, and the first is written.
        std::vector<Floats> all;
        std::vector<float*> targets;
        for (const int64_t t : tensors) {
            const pyad::TensorShape& shape = network->shape(t);
            all.emplace_back(2 * shape.C * shape.H * shape.W, check::kNaN);
        }
        for (Floats& floats : all) targets.push_back(floats.data());
        ConvolutionPlan whole(network, tensors, 2, 2);
        for (int round = 0; round < 3; ++round) whole.run(x.data(), targets);
        CHECK(run(network, tensors[4], 2, x) == all[4]);
        CHECK(run(network, tensors[1], 2, x) == all[1]);
        // The last convolution with its residual, from what it read.
        auto parts = std::make_shared<ConvolutionNetwork>(48, 11, 13, bf16);
        check::Random again(3);
        normals(20 * 3 * 25, again);
        const Floats bias = normals(48, again);
        normals(48 * 20 * 9, again);
        const Floats second = normals(48 * 48 * 9, again);
        const int64_t y =
            parts->convolution(0, second.data(), bias.data(), 48, {3, 3, 1, 1, 1, 1, 1, 1});
        const Floats plain = run(parts, y, 2, all[3]);
        for (size_t i = 0; i < plain.size(); ++i)
            CHECK_EQ(all[4][i], std::max(0.0f, plain[i] + all[2][i]));
    });
}

PYAD_TEST(pools_sums_and_clips) {
    check::Random random(4);
    Floats x = normals(20 * 7 * 9, random);
    check::at_each_level([&](pyad::Level) {
        auto network = std::make_shared<ConvolutionNetwork>(20, 7, 9);
        const pyad::Windows windows{3, 2, 2, 1, 1, 1, 2, 0};
        const int64_t most = network->maximum(0, windows), sum = network->add(0, 0, {-0.5f, 1.5f});
        const int64_t inside = network->average(0, windows, false),
                      counted = network->average(0, windows, true);
        const Floats m = run(network, most, 1, x), a = run(network, inside, 1, x),
                     b = run(network, counted, 1, x), s = run(network, sum, 1, x);
        for (size_t i = 0; i < x.size(); ++i)
            CHECK_EQ(s[i], std::min(1.5f, std::max(-0.5f, x[i] + x[i])));
        const pyad::TensorShape& out = network->shape(most);
        for (int64_t i = 0; i < out.C * out.H * out.W; ++i) {
            const int64_t c = i / (out.H * out.W), top = i / out.W % out.H * 2 - 1,
                          left = i % out.W - 1;
            float largest = -check::kInfinity;
            double total = 0.0, pixels = 0.0;
            for (int64_t y = std::max<int64_t>(0, top); y < std::min<int64_t>(7, top + 3); ++y)
                for (int64_t z = std::max<int64_t>(0, left); z < std::min<int64_t>(9, left + 2);
                     ++z) {
                    largest = std::max(largest, x[(c * 7 + y) * 9 + z]);
                    total += static_cast<double>(x[(c * 7 + y) * 9 + z]);
                    pixels += 1.0;
                }
            CHECK_EQ(m[i], largest);
            CHECK_NEAR(a[i], total / pixels, 1e-6);
            CHECK_NEAR(b[i], total / 6.0, 1e-6);
        }
    });
}

PYAD_TEST(a_nan_never_vanishes) {
    check::Random random(5);
    at_each_precision([&](bool bf16) {
        for (const ConvolutionForm form : {ConvolutionForm::direct, ConvolutionForm::winograd}) {
            const Floats w = normals(20 * 20 * 9, random), bias = normals(20, random);
            Floats x = normals(20 * 13 * 10, random);
            x[(7 * 13 + 4) * 10 + 5] = check::kNaN;  // channel 7, row 4, column 5
            auto network = std::make_shared<ConvolutionNetwork>(20, 13, 10, bf16);
            const int64_t y = network->convolution(
                0, w.data(), bias.data(), 20, {3, 3, 1, 1, 1, 1, 1, 1}, -1, {0.0f, 6.0f}, form);
            const int64_t pooled = network->maximum(y, {3, 3, 2, 2, 1, 1, 1, 1});
            const Floats out = run(network, y, 1, x), most = run(network, pooled, 1, x);
            for (int64_t k = 0; k < 20; ++k) {
                for (int64_t i = 3; i <= 5; ++i)
                    for (int64_t j = 4; j <= 6; ++j) CHECK(std::isnan(out[(k * 13 + i) * 10 + j]));
                CHECK(std::isnan(most[(k * 7 + 2) * 5 + 2]));
                CHECK(!std::isnan(out[(k * 13 + 12) * 10]));  // of another tile
            }
        }
    });
}

PYAD_TEST(plans_of_one_network_run_side_by_side) {
    check::Random random(6);
    const check::Threads limit(2);
    at_each_precision([&](bool bf16) {
        auto network = std::make_shared<ConvolutionNetwork>(3, 33, 31, bf16);
        const int64_t last = small_network(*network, random).back();
        const Floats x = normals(3 * 33 * 31, random), expected = run(network, last, 1, x);
        std::vector<std::thread> callers;
        for (int caller = 0; caller < 4; ++caller)
            callers.emplace_back([&] {
                Floats out(expected.size());
                ConvolutionPlan plan(network, {last}, 1, 2);
                for (int round = 0; round < 5; ++round) {
                    std::fill(out.begin(), out.end(), check::kNaN);
                    plan.run(x.data(), {out.data()});
                    CHECK(out == expected);
                }
            });
        for (std::thread& caller : callers) caller.join();
    });
}

PYAD_TEST(bf16_where_there_is_none_is_refused) {
    check::at_each_level([](pyad::Level level) {
        bool refused = false;
        try {
            ConvolutionNetwork(3, 8, 8, true);
        } catch (const std::invalid_argument& error) {
            refused = std::string(error.what()).find(pyad::level_name(level)) != std::string::npos;
        }
        CHECK_EQ(refused, !pyad::has_bf16());
        if (level < pyad::Level::avx512 || level > pyad::Level::avx512amx) CHECK(refused);
    });
}

PYAD_TEST(what_does_not_fit_is_refused) {
    const Floats w(16 * 16 * 9), bias(16);
    const auto refused = [&](auto&& call) {
        ConvolutionNetwork network(16, 8, 8);
        try {
            call(network);
        } catch (const std::invalid_argument&) {
            return true;
        }
        return false;
    };
    using N = ConvolutionNetwork;
    CHECK(refused([&](N& n) { n.convolution(1, w.data(), bias.data(), 16, {3, 3}); }));
    CHECK(refused([&](N& n) { n.convolution(0, w.data(), bias.data(), 0, {3, 3}); }));
    CHECK(refused([&](N& n) { n.convolution(0, w.data(), bias.data(), 16, {9, 9}); }));
    CHECK(refused([&](N& n) { n.convolution(0, w.data(), bias.data(), 16, {3, 3}, 0); }));
    CHECK(refused([&](N& n) { n.maximum(0, {3, 3, 1, 1, 3}); }));
    CHECK(refused([&](N& n) { n.maximum(0, {3, 3, 0, 1}); }));
    CHECK(refused([&](N& n) {
        n.convolution(0, w.data(), bias.data(), 16, {3, 3, 2, 2}, -1, {},
                      ConvolutionForm::winograd);
    }));
    CHECK(refused([](N& n) { n.add(0, n.maximum(0, {2, 2})); }));
    CHECK(refused([](N&) { N(0, 1, 1); }));
    CHECK(!refused([&](N& n) { n.convolution(0, w.data(), bias.data(), 16, {3, 3}); }));
}

PYAD_TEST(plans_that_do_not_fit_are_refused) {
    const auto network = std::make_shared<ConvolutionNetwork>(16, 8, 8);
    const int64_t pooled = network->maximum(0, {2, 2});
    using Plan = ConvolutionPlan;
    CHECK_THROWS(Plan(nullptr, {0}, 1, 1), "expected a network");
    CHECK_THROWS(Plan(network, {pooled + 1}, 1, 1), "a tensor's number below 2, got 2");
    CHECK_THROWS(Plan(network, {-1}, 1, 1), "got -1");
    for (const int64_t N : {int64_t{0}, int64_t{-1}, int64_t{65537}})
        CHECK_THROWS(Plan(network, {pooled}, N, 1), "1 to 65536 pictures");
    for (const int threads : {0, -1, 1025, 2147483647})  // the last one had to be waited for
        CHECK_THROWS(Plan(network, {pooled}, 1, threads), "1 to 1024 threads");
    Plan plan(network, {pooled, 0}, 1, 1024);
    const Floats x(16 * 8 * 8, 3.0f);
    Floats y(16 * 7 * 7), same(x.size());
    CHECK_THROWS(plan.run(x.data(), {y.data()}), "an array for each output");
    plan.run(x.data(), {y.data(), same.data()});
    CHECK_EQ(*std::min_element(y.begin(), y.end()), 3.0f);
    CHECK_SAME_BITS(same.data(), x.data(), x.size());
}
