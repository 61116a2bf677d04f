// What new picks change: the minimum distances of all rows.
#include <algorithm>
#include <atomic>
#include <cstring>

#include "coreset_screen.h"
#include "leave.h"
#include "pyad/greedy_coreset.h"
#include "pyad/parallel.h"
#include "screen.h"

namespace pyad {
namespace {

// A pick that may be nearer to a point than all before: the larger the product, the nearer.
struct Hit {
    int32_t dot;
    int32_t pick;
    bool operator<(const Hit& other) const { return dot < other.dot; }
};

}  // namespace

void GreedyCoreset::apply(int64_t first) {
    for (size_t i = first; i < picks_.size(); ++i) nearest_[picks_[i]] = kPicked;
    if (screen_)
        apply_in_8_bits(first);
    else
        apply_in_float(first);
}

void GreedyCoreset::apply_in_8_bits(int64_t first) {
    const auto canonical = screen_kernels().canonical;
    const CoresetKernels& kernels = screen_->kernels();
    CoresetPanels panels;
    screen_->pack(picks_, first, &panels);
    for (size_t i = first; i < picks_.size(); ++i) bars_[picks_[i]] = kNoHit;
    const auto visit = [&](int64_t n, const Hit& hit) {
        const int64_t pick = picks_[first + hit.pick];
        const float d = canonical(points_ + n * P_, points_ + pick * P_, P_);
        if (!(d < nearest_[n])) return;
        nearest_[n] = d;
        bars_[n] = screen_->bar(n, d);
    };
    std::atomic<int64_t> found{0};
    parallel_for(N_, kCoresetRows, [&](int64_t begin, int64_t end) {
        thread_local std::vector<Hit> hits[kMaxCoresetHeight];
        int32_t dots[kMaxCoresetHeight * kCoresetPanel];
        uint32_t masks[kMaxCoresetHeight];
        int64_t count = 0;
        for (std::vector<Hit>& list : hits) list.clear();  // a failed call may have left some
        kernels.begin();
        const Leave leave(kernels.end);
        for (int64_t n = begin; n < end; n += kernels.height) {
            const int64_t rows = std::min<int64_t>(kernels.height, end - n);
            for (int64_t p = 0; p < panels.count; ++p) {
                uint32_t any = kernels.tile(screen_->point(n), panels.panel(p), screen_->depth(),
                                            panels.offsets.data() + p * kCoresetPanel,
                                            bars_.data() + n, masks, dots);
                for (; any; any &= any - 1) {
                    const int64_t r = __builtin_ctz(any);
                    if (hits[r].empty())
                        for (int64_t d = 0; d < P_; d += 16)
                            __builtin_prefetch(points_ + (n + r) * P_ + d);
                    for (uint32_t open = masks[r]; open; open &= open - 1) {
                        const int64_t j = __builtin_ctz(open);
                        hits[r].push_back({dots[r * kCoresetPanel + j],
                                           static_cast<int32_t>(p * kCoresetPanel + j)});
                    }
                }
            }
            // The most promising pick first: it settles most of the others.
            for (int64_t r = 0; r < rows; ++r) {
                if (hits[r].empty()) continue;
                visit(n + r, *std::max_element(hits[r].begin(), hits[r].end()));
                for (const Hit& hit : hits[r])
                    if (hit.dot > bars_[n + r]) visit(n + r, hit);
                count += static_cast<int64_t>(hits[r].size());
                hits[r].clear();
            }
        }
        found += count;
    });
    // Far apart from the rest, a few points can make the common scale too coarse for all others.
    const int64_t pairs = N_ * (static_cast<int64_t>(picks_.size()) - first);
    if (passes_ > 0 && found > pairs / 8) screen_.reset();
}

void GreedyCoreset::apply_in_float(int64_t first) {
    const int64_t count = static_cast<int64_t>(picks_.size()) - first;
    std::vector<float> centers(count * P_);
    for (int64_t i = 0; i < count; ++i)
        std::memcpy(centers.data() + i * P_, points_ + picks_[first + i] * P_, P_ * sizeof(float));
    const PackedRows packed(centers.data(), count, P_, mean_.data());
    const ScreenKernels& kernels = screen_kernels();
    parallel_for(N_, kCoresetRows, [&](int64_t begin, int64_t end) {
        thread_local PackedQueries queries;
        const int64_t n = end - begin;
        const float* points = points_ + begin * P_;
        float* nearest = nearest_.data() + begin;
        const auto update = [&](int64_t i, int64_t center) {
            if (nearest[i] > kPicked)
                nearest[i] =
                    std::min(nearest[i],
                             kernels.canonical(points + i * P_, centers.data() + center * P_, P_));
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
