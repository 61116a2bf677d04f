#include "pyad/greedy_coreset.h"

#include <algorithm>
#include <cstring>
#include <functional>

#include "coreset_screen.h"
#include "ieee_arithmetic.h"
#include "pyad/parallel.h"
#include "screen.h"

namespace pyad {
namespace {

constexpr int64_t kSubset = 2048;  // T: with P = 128 it fills 1 MB of L2
constexpr int64_t kPicks = 512;    // of one pass at most; then few rows of the subset are left
constexpr int64_t kSample = 4096;  // rows whose mean centres the screen; any vector would do

std::vector<float> mean_of_some(const float* points, int64_t N, int64_t P) {
    const int64_t step = (N + kSample - 1) / kSample, n = (N + step - 1) / step;
    std::vector<float> sample(n * P);
    for (int64_t i = 0; i < n; ++i)
        std::memcpy(sample.data() + i * P, points + i * step * P, P * sizeof(float));
    return mean_of_rows(sample.data(), n, P);
}

// First of the largest values: sixteen maxima at a time, which compilers turn into vectors.
int64_t first_maximum(const std::vector<float>& values) {
    const int64_t n = static_cast<int64_t>(values.size());
    float most[16];
    std::fill(most, most + 16, kPicked);
    int64_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (int l = 0; l < 16; ++l) most[l] = values[i + l] > most[l] ? values[i + l] : most[l];
    for (; i < n; ++i) most[0] = std::max(most[0], values[i]);
    const float largest = *std::max_element(most, most + 16);
    return std::find(values.begin(), values.end(), largest) - values.begin();
}

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
      mean_(mean_of_some(points, N, P)),
      subset_panels_(std::make_unique<CoresetPanels>()) {
    const IeeeArithmetic arithmetic;
    if (const CoresetKernels* kernels = coreset_kernels())
        screen_ = CoresetScreen::make(*kernels, points, N, P, mean_.data());
    if (!screen_) return;
    bars_.assign(N + kMaxCoresetHeight, kNoHit);
    parallel_for(N, kCoresetRows, [&](int64_t begin, int64_t end) {
        for (int64_t n = begin; n < end; ++n) bars_[n] = screen_->bar(n, nearest_[n]);
    });
}

GreedyCoreset::~GreedyCoreset() = default;

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
        // Values only fall, and slowly: those above a little less than the last subset's smallest
        // are nearly always enough, and few.
        std::vector<float> values;
        const float guess = 0.9f * least_;
        for (const float value : nearest_)
            if (value > guess) values.push_back(value);
        if (static_cast<int64_t>(values.size()) <= kSubset) values = nearest_;
        const auto last = values.begin() + kSubset - 1;
        std::nth_element(values.begin(), last, values.end(), std::greater<float>());
        least_ = least = *last;
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
    if (screen_) {
        screen_->pack(subset_, 0, subset_panels_.get());
        for (size_t i = 0; i < subset_.size(); ++i)
            subset_panels_->offsets[i] = screen_->scan_offset(subset_[i], subset_nearest_[i]);
        subset_hits_.resize(subset_panels_->count);
    }
}

int64_t GreedyCoreset::pick_in_subset(int64_t limit) {
    int64_t made = 0;
    while (made < std::min(limit, kPicks)) {
        const int64_t best = first_maximum(subset_nearest_);
        // The first pick of a subset is the global maximum, ties included. Later ones must be
        // strictly above every row outside: an equal one there could have the smaller index.
        if (made > 0 && !(subset_nearest_[best] > outside_)) break;
        picks_.push_back(subset_[best]);
        ++made;
        come_nearer(best);
    }
    return made;
}

void GreedyCoreset::come_nearer(int64_t picked) {
    const auto canonical = screen_kernels().canonical;
    const float* pick = subset_points_.data() + picked * P_;
    const auto update = [&](int64_t i) {
        const float d = canonical(subset_points_.data() + i * P_, pick, P_);
        subset_nearest_[i] = std::min(subset_nearest_[i], d);
    };
    subset_nearest_[picked] = kPicked;
    if (!screen_) {
        for (size_t i = 0; i < subset_.size(); ++i)
            if (subset_nearest_[i] > kPicked) update(i);
        return;
    }
    subset_panels_->offsets[picked] = screen_->scan_offset(subset_[picked], kPicked);
    screen_->kernels().scan(screen_->point(subset_[picked]), subset_panels_->values.data(),
                            subset_panels_->count, screen_->depth(), subset_panels_->offsets.data(),
                            screen_->scan_bar(subset_[picked]), subset_hits_.data());
    for (int64_t p = 0; p < subset_panels_->count; ++p)
        for (uint32_t open = subset_hits_[p]; open; open &= open - 1) {
            const int64_t i = p * kCoresetPanel + __builtin_ctz(open);
            update(i);
            subset_panels_->offsets[i] = screen_->scan_offset(subset_[i], subset_nearest_[i]);
        }
}

}  // namespace pyad
