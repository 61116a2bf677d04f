#include "pyad/greedy_coreset.h"

#include <algorithm>
#include <cstring>
#include <functional>

#include "ieee_arithmetic.h"
#include "pyad/nearest_neighbors.h"
#include "pyad/parallel.h"
#include "screen.h"

namespace pyad {
namespace {

constexpr int64_t kSubset = 2048;  // T: with P = 128 it fills 1 MB of L2
constexpr int64_t kPicks =
    256;  // picks of one pass at most; more would leave too few rows in the subset
constexpr int64_t kRows = 384;    // rows of one block of a pass
constexpr float kPicked = -1.0f;  // below every distance

}  // namespace

void project(const float* points, int64_t N, int64_t D, const float* matrix, int64_t P_out,
             float* out) {
    parallel_for(N, 256, [&](int64_t begin, int64_t end) {
        constexpr int64_t width = 64;  // outputs kept in registers
        for (int64_t n = begin; n < end; ++n) {
            const float* row = points + n * D;
            for (int64_t p = 0; p < P_out; p += width) {
                const int64_t size = std::min(width, P_out - p);
                float sums[width] = {};
                if (size == width) {
                    for (int64_t d = 0; d < D; ++d)
                        for (int64_t j = 0; j < width; ++j)
                            sums[j] += row[d] * matrix[d * P_out + p + j];
                } else {
                    for (int64_t d = 0; d < D; ++d)
                        for (int64_t j = 0; j < size; ++j)
                            sums[j] += row[d] * matrix[d * P_out + p + j];
                }
                std::memcpy(out + n * P_out + p, sums, size * sizeof(float));
            }
        }
    });
}

GreedyCoreset::GreedyCoreset(const float* points, int64_t N, int64_t P, const float* initial)
    : points_(points),
      N_(N),
      P_(P),
      nearest_(initial, initial + N),
      mean_(mean_of_rows(points, N, P)) {}

void GreedyCoreset::advance(int64_t limit) {
    const IeeeArithmetic arithmetic;
    const int64_t first = static_cast<int64_t>(picks_.size());
    choose_subset();
    pick_in_subset(limit);
    apply(first);
    ++passes_;
}

void GreedyCoreset::choose_subset() {
    subset_.clear();
    outside_ = kPicked;
    float least = kPicked;  // the smallest value of the subset
    int64_t ties = N_;      // how many rows with that value belong to it
    if (N_ > kSubset) {
        std::vector<float> values(nearest_);
        const auto last = values.begin() + kSubset - 1;
        std::nth_element(values.begin(), last, values.end(), std::greater<float>());
        least = *last;
        outside_ = *std::max_element(last + 1, values.end());
        ties = std::count(values.begin(), last + 1, least);
    }
    // Ascending rows: among equal values the smallest indices are in, and the first maximum found
    // is then the smallest index.
    for (int64_t n = 0; n < N_; ++n)
        if (nearest_[n] > least || (nearest_[n] == least && ties-- > 0)) subset_.push_back(n);
    subset_points_.resize(subset_.size() * P_);
    subset_nearest_.resize(subset_.size());
    for (size_t i = 0; i < subset_.size(); ++i) {
        std::memcpy(subset_points_.data() + i * P_, points_ + subset_[i] * P_, P_ * sizeof(float));
        subset_nearest_[i] = nearest_[subset_[i]];
    }
}

int64_t GreedyCoreset::pick_in_subset(int64_t limit) {
    const auto canonical = screen_kernels().canonical;
    const int64_t T = static_cast<int64_t>(subset_.size());
    int64_t made = 0;
    int64_t last = -1;
    while (made < std::min(limit, kPicks)) {
        int64_t best = 0;
        for (int64_t i = 0; i < T; ++i) {
            if (last >= 0 && subset_nearest_[i] > kPicked) {
                const float d = canonical(subset_points_.data() + i * P_,
                                          subset_points_.data() + last * P_, P_);
                subset_nearest_[i] = std::min(subset_nearest_[i], d);
            }
            if (subset_nearest_[i] > subset_nearest_[best]) best = i;
        }
        // The first pick of a subset is the global maximum, ties included. Later ones must be
        // strictly above every row outside: an equal one there could have the smaller index.
        if (made > 0 && !(subset_nearest_[best] > outside_)) break;
        subset_nearest_[best] = kPicked;
        picks_.push_back(subset_[best]);
        last = best;
        ++made;
    }
    return made;
}

void GreedyCoreset::apply(int64_t first) {
    const int64_t count = static_cast<int64_t>(picks_.size()) - first;
    std::vector<float> centers(count * P_);
    for (int64_t i = 0; i < count; ++i) {
        const int64_t row = picks_[first + i];
        nearest_[row] = kPicked;
        std::memcpy(centers.data() + i * P_, points_ + row * P_, P_ * sizeof(float));
    }
    const PackedRows packed(centers.data(), count, P_, mean_.data());
    const ScreenKernels& kernels = screen_kernels();
    parallel_for(N_, kRows, [&](int64_t begin, int64_t end) {
        thread_local PackedQueries queries;
        const int64_t n = end - begin;
        const float* points = points_ + begin * P_;
        float* nearest = nearest_.data() + begin;
        const auto update = [&](int64_t i, int64_t center) {
            if (nearest[i] > kPicked)
                nearest[i] = std::min(nearest[i],
                                      kernels.canonical(points + i * P_, packed.row(center), P_));
            return nearest[i];
        };
        if (!packed.huge()) queries.pack(points, n, packed, kernels.MR, nearest);
        if (packed.huge() || queries.huge()) {
            for (int64_t i = 0; i < n; ++i)
                for (int64_t c = 0; c < count; ++c) update(i, c);
        } else {
            screen(kernels, packed, queries, n, update);
        }
    });
}

}  // namespace pyad
