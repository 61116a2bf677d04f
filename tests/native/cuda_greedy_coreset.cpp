// The programs of the CUDA coreset, run on the host, against the CPU kernel: the same picks.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "check.h"
#include "greedy_coreset.cuh"
#include "pyad/greedy_coreset.h"

namespace {

using namespace pyad::cuda;

// Returns the passes that made a pick.
int64_t compare(const std::vector<float>& points, int64_t N, int64_t P, int64_t count,
                const float* initial) {
    const std::vector<float> none(N, std::numeric_limits<float>::infinity());
    pyad::GreedyCoreset cpu(points.data(), N, P, initial ? initial : none.data());
    while (static_cast<int64_t>(cpu.picks().size()) < count)
        cpu.advance(count - static_cast<int64_t>(cpu.picks().size()));
    int64_t passes = 0;
    for (const bool descending : {false, true}) {
        const auto run = [&](const auto& p, Grid grid) { run_on_host(p, grid, descending); };
        std::vector<double> workspace((CoresetMemory::bytes(N) + 7) / 8,
                                      std::numeric_limits<double>::quiet_NaN());
        check::Poisoned<int64_t> picks(count);
        start_coreset(initial, N, workspace.data(), run);
        const CoresetMemory memory(workspace.data());
        for (passes = 0; memory.state->made < count && passes <= count; ++passes)
            coreset_passes(points.data(), N, P, count, 1, workspace.data(), picks.data(), run);
        CHECK_EQ(memory.state->made, count);
        CHECK_SAME_BITS(picks.data(), cpu.picks().data(), count);
        // Passes behind the last change nothing.
        coreset_passes(points.data(), N, P, count, 2, workspace.data(), picks.data(), run);
        CHECK_EQ(memory.state->made, count);
        CHECK_SAME_BITS(picks.data(), cpu.picks().data(), count);
    }
    return passes;
}

PYAD_TEST(cuda_coreset_agrees_with_the_cpu_over_odd_sizes) {
    check::Random random(1);
    const int64_t sizes[][3] = {{1, 1, 1}, {2, 3, 2}, {7, 17, 7}, {129, 16, 60}, {300, 33, 300}};
    for (const auto& [N, P, count] : sizes) compare(random.normals(N * P), N, P, count, nullptr);
}

PYAD_TEST(cuda_coreset_picks_many_rows_in_a_pass) {
    check::Random random(2);
    const int64_t N = 5000, P = 20, count = 400;
    const int64_t passes = compare(random.normals(N * P), N, P, count, nullptr);
    CHECK(passes < count / 10);
}

PYAD_TEST(cuda_coreset_settles_ties_and_duplicates) {
    check::Random random(3);
    const int64_t N = 3000, P = 5, count = 260;
    std::vector<float> points(N * P);
    for (float& x : points) x = static_cast<float>(random.below(3));
    compare(points, N, P, count, nullptr);
    const std::vector<float> same(2500 * 3, 0.5f);
    compare(same, 2500, 3, 9, nullptr);
}

PYAD_TEST(cuda_coreset_begins_from_given_distances) {
    check::Random random(4);
    const int64_t N = 2600, P = 18, count = 50;
    auto initial = random.uniforms(N);
    for (float& x : initial) x = std::fabs(x) * 20.0f;
    initial[7] = 0.0f;
    initial[8] = -0.0f;
    compare(random.normals(N * P), N, P, count, initial.data());
    const std::vector<float> zeros(N, -0.0f);
    compare(random.normals(N * P), N, P, 3, zeros.data());
}

PYAD_TEST(cuda_coreset_of_extreme_values) {
    check::Random random(5);
    const int64_t N = 90, P = 7;
    for (const float scale : {1e-42f, 1e-25f, 1e13f, 1e19f, 3e38f}) {
        auto points = random.uniforms(N * P);
        for (float& x : points) x *= scale;
        compare(points, N, P, N, nullptr);
    }
}

PYAD_TEST(cuda_coreset_settles_subsets_that_just_fit) {
    check::Random random(6);
    for (const int64_t N : {2047, 2048, 2049, 4097}) {
        std::vector<float> points = random.normals(N * 3);
        compare(points, N, 3, 30, nullptr);
        std::vector<float> initial(N, 2.0f);  // shared by all rows but the last few
        for (int64_t n = N - 5; n < N; ++n) initial[n] = 3.0f;
        compare(points, N, 3, 12, initial.data());
    }
}

PYAD_TEST(cuda_coreset_leaves_out_rows_whose_start_is_wrong_and_says_so) {
    check::Random random(7);
    const int64_t N = 2500, P = 6, count = 40;
    const std::vector<float> points = random.normals(N * P);
    for (const float wrong : {-1.0f, -5.0f, std::numeric_limits<float>::quiet_NaN()}) {
        std::vector<float> initial(N, 9.0f);
        for (int64_t n = 0; n < N; n += 2) initial[n] = wrong;
        for (const bool descending : {false, true}) {
            const auto run = [&](const auto& p, Grid grid) { run_on_host(p, grid, descending); };
            std::vector<double> workspace((CoresetMemory::bytes(N) + 7) / 8);
            check::Poisoned<int64_t> picks(count);
            start_coreset(initial.data(), N, workspace.data(), run);
            coreset_passes(points.data(), N, P, count, 8, workspace.data(), picks.data(), run);
            const CoresetMemory memory(workspace.data());
            CHECK_EQ(memory.state->refused, 1);
            CHECK(memory.state->made > 0);
            for (int64_t i = 0; i < memory.state->made; ++i) CHECK_EQ(picks[i] % 2, 1);
            start_coreset(nullptr, N, workspace.data(), run);  // forgets it
            CHECK_EQ(memory.state->refused, 0);
        }
    }
}

PYAD_TEST(cuda_coreset_of_points_that_are_not_finite_ends) {
    check::Random random(8);
    const int64_t N = 70, P = 19;
    std::vector<float> points = random.normals(N * P);
    points[5 * P + 18] = std::numeric_limits<float>::quiet_NaN();
    points[60 * P] = points[61 * P] = std::numeric_limits<float>::infinity();
    for (const bool descending : {false, true}) {
        const auto run = [&](const auto& p, Grid grid) { run_on_host(p, grid, descending); };
        std::vector<double> workspace((CoresetMemory::bytes(N) + 7) / 8);
        std::vector<int64_t> picks(N);
        start_coreset(nullptr, N, workspace.data(), run);
        coreset_passes(points.data(), N, P, N, N, workspace.data(), picks.data(), run);
        CHECK_EQ(CoresetMemory(workspace.data()).state->made, N);
        CHECK_EQ(picks[1], 5);  // NaN is never nearer than +infinity
        std::sort(picks.begin(), picks.end());
        for (int64_t n = 0; n < N; ++n) CHECK_EQ(picks[n], n);
    }
}

}  // namespace
