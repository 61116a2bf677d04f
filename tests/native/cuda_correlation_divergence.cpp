// csrc/cuda/correlation_divergence.cuh on the host: the bits of the CPU kernel.
#include "check.h"
#include "correlation_divergence.cuh"
#include "rows.h"

namespace {

using pyad::CorrelationShape;

const CorrelationShape kShapes[] = {
    {1, 1, 1, 1, 1, false},   {2, 3, 7, 9, 5, false},   {1, 2, 5, 16, 32, true},
    {3, 2, 6, 11, 33, true},  {1, 1, 1, 40, 70, false}, {2, 1, 37, 1, 3, true},
    {1, 2, 4, 33, 64, false}, {1, 1, 3, 3, 100, true},  {0, 2, 3, 3, 4, false},
};

struct Inputs {
    CorrelationShape shape;
    std::vector<float> queries, keys, sigma_x, sigma_y;
    float scale = 0.3f;

    Inputs(const CorrelationShape& shape_, check::Kind kind, check::Random& random)
        : shape(shape_) {
        const int64_t patches = shape.N * shape.heads * shape.L();
        const int64_t sets = (shape.shared_keys ? 1 : shape.N) * shape.heads;
        queries = check::rows_of(kind, patches, shape.d, random).values;
        keys = check::rows_of(kind, sets * shape.L(), shape.d, random).values;
        for (std::vector<float>* sigma : {&sigma_x, &sigma_y})
            for (int64_t i = 0; i < patches; ++i)
                sigma->push_back(std::ldexp(1.5f + 0.5f * random.uniform(),
                                            static_cast<int>(random.below(12)) - 8));
    }
};

struct Outputs {
    std::vector<float> per_head, divergence;
};

Outputs on_cpu(const Inputs& in) {
    check::Poisoned<float> scratch(pyad::correlation_scratch(in.shape));
    check::Poisoned<float> per_head(in.shape.N * in.shape.heads * in.shape.L());
    check::Poisoned<float> divergence(in.shape.N * in.shape.L());
    pyad::correlation_divergence(in.shape, in.queries.data(), in.keys.data(), in.sigma_x.data(),
                                 in.sigma_y.data(), in.scale, scratch.data(), per_head.data(),
                                 divergence.data());
    return {{per_head.begin(), per_head.end()}, {divergence.begin(), divergence.end()}};
}

Outputs in_blocks(const Inputs& in, bool descending) {
    check::Poisoned<float> per_head(in.shape.N * in.shape.heads * in.shape.L());
    check::Poisoned<float> divergence(in.shape.N * in.shape.L());
    const pyad::cuda::CorrelationCall call(in.shape, in.queries.data(), in.keys.data(),
                                           in.sigma_x.data(), in.sigma_y.data(), in.scale,
                                           per_head.data(), divergence.data());
    pyad::cuda::run_on_host(call.rows, call.blocks(), descending);
    pyad::cuda::run_on_host(call.mean, call.means(), descending);
    return {{per_head.begin(), per_head.end()}, {divergence.begin(), divergence.end()}};
}

}  // namespace

PYAD_TEST(divergences_have_the_bits_of_the_cpu_kernel) {
    check::Random random(21);
    for (const CorrelationShape& shape : kShapes)
        for (const check::Kind kind : {check::Kind::normal, check::Kind::ties, check::Kind::zeros,
                                       check::Kind::denormal, check::Kind::huge}) {
            const Inputs in(shape, kind, random);
            const Outputs expected = on_cpu(in);
            for (const bool descending : {false, true}) {
                const Outputs found = in_blocks(in, descending);
                CHECK_SAME_BITS(found.per_head.data(), expected.per_head.data(),
                                expected.per_head.size());
                CHECK_SAME_BITS(found.divergence.data(), expected.divergence.data(),
                                expected.divergence.size());
            }
        }
}

PYAD_TEST(what_breaks_the_limits_makes_its_patch_nan) {
    check::Random random(22);
    const Inputs in({2, 2, 6, 11, 12, false}, check::Kind::normal, random);
    const int64_t L = in.shape.L(), patch = 3 * L + 50;  // of head 1 of picture 1
    for (const float bad : {check::kNaN, check::kInfinity, -check::kInfinity}) {
        Inputs broken = in;
        broken.queries[patch * in.shape.d + 5] = bad;
        const Outputs found = in_blocks(broken, false);
        for (int64_t i = 0; i < 4 * L; ++i) CHECK_EQ(std::isnan(found.per_head[i]), i == patch);
        for (int64_t i = 0; i < 2 * L; ++i) CHECK_EQ(std::isnan(found.divergence[i]), i == L + 50);
    }
    Inputs flat = in;
    flat.sigma_x[patch] = 0.0f;
    CHECK(std::isnan(in_blocks(flat, false).divergence[L + 50]));
}

PYAD_TEST(grids_and_batches_beyond_the_device_are_refused) {
    float cell = 0.0f;
    const auto make = [&](const CorrelationShape& shape) {
        pyad::cuda::CorrelationCall(shape, &cell, &cell, &cell, &cell, 1.0f, &cell, &cell);
    };
    CHECK_THROWS(make({1, 1, 1, 384, 4, false}), "at most 384 on a CUDA device, got 385");
    CHECK_THROWS(make({int64_t{1} << 31, 1, 1, 1, 4, false}), "fewer pictures at a time");
}
