// greedy_coreset.h and density_weights.h.
#include <algorithm>
#include <cmath>
#include <set>

#include "pyad/density_weights.h"
#include "pyad/greedy_coreset.h"
#include "target.h"

using fuzz::Bytes;
using fuzz::Exact;

// No check is needed: sizes from zero on, any values.
PYAD_FUZZ(project) {
    const int64_t N = bytes.size(0, 40), D = bytes.size(0, 60), P = bytes.size(0, 140);
    const Exact<float> points = bytes.floats(N * D), matrix = bytes.floats(D * P);
    Exact<float> out(N * P, bytes.below(16));
    pyad::project(points.data(), N, D, matrix.data(), P, out.data());
}

// pyad_edge/ops/greedy_coreset.py checks that points are finite, that no start distance is negative
// or NaN, and asks for at most N picks.
PYAD_FUZZ(greedy_coreset) {
    int64_t N = bytes.size(1, 120), P = bytes.size(1, 140);
    if (bytes.one_in(64)) {  // more rows than a subset holds
        N = 2048 + bytes.within(-2, 200);
        P = bytes.size(1, 20);
    }
    const Exact<float> points = bytes.floats(N * P, true);
    Exact<float> initial = bytes.floats(N, true);
    for (int64_t i = 0; i < N; ++i) initial[i] = std::fabs(initial[i]);
    if (bytes.one_in(2)) std::fill_n(initial.data(), N, INFINITY);
    pyad::GreedyCoreset state(points.data(), N, P, initial.data());
    const int64_t count = N > 2000 ? 20 : bytes.within(1, N);
    while (static_cast<int64_t>(state.picks().size()) < count) {
        const int64_t left = count - static_cast<int64_t>(state.picks().size()),
                      before = state.passes();
        state.advance(bytes.one_in(2) ? left : bytes.within(1, left));
        fuzz::expect(state.passes() == before + 1, "one pass");
        fuzz::expect(static_cast<int64_t>(state.picks().size()) <= count, "no pick too many");
    }
    const std::set<int64_t> different(state.picks().begin(), state.picks().end());
    fuzz::expect(static_cast<int64_t>(different.size()) == count, "different picks");
    fuzz::expect(*different.begin() >= 0 && *different.rbegin() < N, "rows of the points");
}

// pyad_edge/ops/density_weights.py checks beta and shapes; what is not finite the kernel reports.
PYAD_FUZZ(density_weights) {
    const int64_t q = bytes.size(0, 50), Q = bytes.size(1, 150), D = bytes.size(1, 150);
    const bool finite = !bytes.one_in(8);
    const Exact<float> features = bytes.floats(q * D, finite), queue = bytes.floats(Q * D, finite);
    const float beta = std::fabs(bytes.number());
    fuzz::require(beta > 0.0f && beta <= 1000.0f, "a beta");
    Exact<float> out(q, bytes.below(16));
    const bool sound =
        pyad::density_weights(features.data(), q, queue.data(), Q, D, beta, out.data());
    fuzz::expect(sound || !finite, "finite values");
    for (int64_t i = 0; i < q && sound; ++i) fuzz::expect(std::isfinite(out[i]), "a weight");
}
