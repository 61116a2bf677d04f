// density_weights.cuh on the host: the bits of the CPU kernel.
#include "check.h"
#include "density_weights.cuh"
#include "pyad/density_weights.h"
#include "rows.h"

namespace {

struct Case {
    int64_t q, Q, D;
    double beta;
};
const Case kCases[] = {{1, 1, 1, 1.0},      {5, 31, 3, 0.01},    {64, 33, 64, 10.0},
                       {65, 517, 65, 41.0}, {70, 640, 31, 90.0}, {3, 1100, 130, 1000.0},
                       {0, 4, 8, 3.0}};

struct Weights {
    Weights(const Case& c, const std::vector<float>& features, const std::vector<float>& queue,
            bool descending)
        : values(c.q) {
        using pyad::cuda::DensityCall;
        using pyad::cuda::run_on_host;
        const auto call_with = [&](void* workspace) {
            return DensityCall(features.data(), c.q, queue.data(), c.Q, c.D, c.beta, workspace,
                               values.data());
        };
        const size_t bytes = call_with(nullptr).bytes;
        struct alignas(16) Line {
            unsigned char of[16];
        };
        const std::unique_ptr<Line[]> workspace(new Line[bytes / 16]);
        std::memset(static_cast<void*>(workspace.get()), 0xff, bytes);
        const DensityCall call = call_with(workspace.get());
        if (c.q == 0) return;
        run_on_host(call.pack_features, call.feature_rows(), descending);
        run_on_host(call.pack_queue, call.queue_rows(), descending);
        run_on_host(call.sums, call.blocks(), descending);
        run_on_host(call.finish, call.features(), descending);
    }
    check::Poisoned<float> values;
};

}  // namespace

PYAD_TEST(density_weights_on_the_device_have_the_bits_of_the_cpu_kernel) {
    check::Random random(8);
    for (const Case& c : kCases)
        for (const bool sorted : {false, true}) {
            std::vector<float> features = random.normals(c.q * c.D);
            std::vector<float> queue = random.normals(c.Q * c.D);
            for (int64_t d = 0; d < c.D; ++d) {
                if (c.q > 2) features[c.D + d] = 0.0f;
                if (c.Q > 2) queue[2 * c.D + d] *= 0x1p-140f;
            }
            // Nearer and nearer to the first feature: references rise.
            if (sorted && c.q > 0)
                for (int64_t j = 0; j < c.Q; ++j)
                    for (int64_t d = 0; d < c.D; ++d)
                        queue[j * c.D + d] =
                            features[d] * static_cast<float>(2 * j - c.Q) + queue[j * c.D + d];
            std::vector<float> expected(c.q);
            CHECK(pyad::density_weights(features.data(), c.q, queue.data(), c.Q, c.D, c.beta,
                                        expected.data()));
            for (const bool descending : {false, true}) {
                Weights ours(c, features, queue, descending);
                CHECK_SAME_BITS(ours.values.data(), expected.data(), c.q);
            }
        }
}

PYAD_TEST(density_weights_on_the_device_turn_nan_where_they_must) {
    check::Random random(9);
    const Case c{70, 100, 20, 5.0};
    for (const float bad : {check::kNaN, check::kInfinity}) {
        std::vector<float> features = random.normals(c.q * c.D);
        std::vector<float> queue = random.normals(c.Q * c.D);
        features[66 * c.D + 3] = bad;
        Weights one(c, features, queue, false);
        CHECK_EQ(one.values.untouched(), 1);
        CHECK(one.values[66] != one.values[66]);
        queue[99 * c.D + 19] = bad;
        Weights all(c, features, queue, false);
        CHECK_EQ(all.values.untouched(), c.q);
    }
}

PYAD_TEST(density_weights_on_the_device_refuse_what_does_not_fit) {
    using pyad::cuda::DensityCall;
    CHECK_THROWS(DensityCall(nullptr, 1, nullptr, 0, 1, 1.0, nullptr, nullptr), "Q from 1");
    CHECK_THROWS(DensityCall(nullptr, 1, nullptr, 1, 65537, 1.0, nullptr, nullptr), "65536");
    CHECK_THROWS(DensityCall(nullptr, 1, nullptr, 1, 1, 1001.0, nullptr, nullptr), "1000");
}
