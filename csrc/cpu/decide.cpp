#include "pyad/decide.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "ieee_arithmetic.h"
#include "pyad/aligned.h"
#include "pyad/parallel.h"

namespace pyad {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNotCounted = -kInfinity;                              // within every bar
constexpr float kNotFinite = std::numeric_limits<float>::quiet_NaN();  // left alone, and open
constexpr int64_t kSeeds = 16;  // patches that bound the largest distance from below

bool finite(const float* values, int64_t n) {
    // As all_finite, on this thread: x - x is 0 for finite values and NaN otherwise.
    float sums[16] = {};
    int64_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (int l = 0; l < 16; ++l) sums[l] += values[i + l] - values[i + l];
    for (; i < n; ++i) sums[0] += values[i] - values[i];
    return std::all_of(sums, sums + 16, [](float sum) { return sum == 0.0f; });
}

}  // namespace

// What one call works in; kept for the next one.
struct Decider::Scratch {
    AlignedVector<float> patches;   // (h, w, D)
    AlignedVector<float> gathered;  // (searched, D)
    std::vector<float> bounds;      // (h, w) upper bounds of squared distances
    std::vector<uint8_t> done;      // (h, w) whether the bound is the distance
    std::vector<int64_t> open;      // patches to search, ascending
    std::vector<float> squared;     // (searched) what the search found
    std::vector<int64_t> rows;
    int64_t winner = -1, winner_row = -1;  // of all searched so far
    float largest = -1.0f;
};

Decider::Decider(const MemoryBankHead& head, const Certificate& certificate)
    : head_(head), certificate_(certificate) {}

Decider::~Decider() = default;

void Decider::certify(const std::vector<FeatureMap>* features, const uint8_t* valid, float bar,
                      Scratch& scratch) const {
    const int64_t w = certificate_.w(), D = head_.plan().dims;
    parallel_for(certificate_.strips(), 1, [&](int64_t begin, int64_t end) {
        if (features) {
            const int64_t y0 = certificate_.strip_begin(begin), y1 = certificate_.strip_begin(end);
            aggregate_rows(head_.plan(), *features, 0, y0, y1, scratch.patches.data());
            for (int64_t q = y0 * w; q < y1 * w; ++q)
                scratch.bounds[q] = !finite(scratch.patches.data() + q * D, D) ? kNotFinite
                                    : valid && !valid[q]                       ? kNotCounted
                                                                               : kInfinity;
        }
        certificate_.certify(begin, end, scratch.patches.data(), bar, scratch.bounds.data());
    });
}

// Searches scratch.open and keeps the first patch of the largest distance.
HeadStatus Decider::search(Scratch& scratch, PictureDecision& decision) const {
    const int64_t D = head_.plan().dims, n = static_cast<int64_t>(scratch.open.size());
    scratch.gathered.resize(n * D);
    scratch.squared.resize(n);
    scratch.rows.resize(n);
    for (int64_t i = 0; i < n; ++i) {
        const float* patch = scratch.patches.data() + scratch.open[i] * D;
        if (std::isnan(scratch.bounds[scratch.open[i]])) return HeadStatus::not_finite;
        std::copy_n(patch, D, scratch.gathered.data() + i * D);
    }
    certificate_.bank().search(scratch.gathered.data(), n, 1, scratch.squared.data(),
                               scratch.rows.data());
    decision.searched += n;
    for (int64_t i = 0; i < n; ++i) {
        const float squared = scratch.squared[i];
        if (!(squared < kInfinity)) return HeadStatus::overflow;
        scratch.bounds[scratch.open[i]] = squared;
        scratch.done[scratch.open[i]] = 1;
        if (squared > scratch.largest ||
            (squared == scratch.largest && scratch.open[i] < scratch.winner)) {
            scratch.largest = squared;
            scratch.winner = scratch.open[i];
            scratch.winner_row = scratch.rows[i];
        }
    }
    return HeadStatus::ok;
}

PictureDecision Decider::decide(const std::vector<FeatureMap>& features, const uint8_t* valid,
                                float bar, bool exact) const {
    if (std::isnan(bar))  // nothing is within it, not even what does not count
        throw std::invalid_argument("[decide] expected a bar that is a number, got NaN.");
    const IeeeArithmetic arithmetic;  // bounds and bars may be subnormal
    std::unique_ptr<Scratch> scratch;
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (!idle_.empty()) {
            scratch = std::move(idle_.back());
            idle_.pop_back();
        }
    }
    if (!scratch) scratch = std::make_unique<Scratch>();
    const int64_t count = h() * w(), D = head_.plan().dims;
    scratch->patches.resize(count * D);
    scratch->gathered.reserve(count * D);
    scratch->open.reserve(count);
    scratch->squared.reserve(count);
    scratch->rows.reserve(count);
    scratch->bounds.resize(count);
    scratch->done.assign(count, 0);
    scratch->winner = scratch->winner_row = -1;
    scratch->largest = -1.0f;

    PictureDecision decision{HeadStatus::ok, 0, false, 0.0f, -1};
    const auto gather_open = [&](float above) {
        scratch->open.clear();
        for (int64_t q = 0; q < count; ++q)
            if (!(scratch->bounds[q] <= above) && !scratch->done[q]) scratch->open.push_back(q);
    };
    const auto run = [&] {
        certify(&features, valid, bar, *scratch);
        if (valid && std::all_of(scratch->bounds.begin(), scratch->bounds.end(),
                                 [](float bound) { return bound == kNotCounted; }))
            return HeadStatus::no_patch;
        gather_open(bar);
        HeadStatus status = search(*scratch, decision);
        if (status != HeadStatus::ok || scratch->largest > bar || !exact) return status;
        // The most distant patches, as far as is known.
        gather_open(kNotCounted);
        const int64_t seeds = std::min<int64_t>(kSeeds, static_cast<int64_t>(scratch->open.size()));
        std::partial_sort(scratch->open.begin(), scratch->open.begin() + seeds, scratch->open.end(),
                          [&](int64_t a, int64_t b) {
                              const float x = scratch->bounds[a], y = scratch->bounds[b];
                              return x > y || (x == y && a < b);
                          });
        scratch->open.resize(seeds);
        status = search(*scratch, decision);
        if (status != HeadStatus::ok) return status;
        const float below = std::nextafter(scratch->largest, -kInfinity);
        certify(nullptr, nullptr, below, *scratch);
        gather_open(below);
        return search(*scratch, decision);
    };
    decision.status = run();
    if (decision.status == HeadStatus::ok && (exact || scratch->largest > bar)) {
        decision.scored = true;
        decision.winner = scratch->winner;
        decision.score = head_.neighbors() == 0
                             ? scratch->largest
                             : head_.reweight(scratch->patches.data() + scratch->winner * D,
                                              scratch->largest, scratch->winner_row);
    }
    const std::lock_guard<std::mutex> lock(mutex_);
    idle_.push_back(std::move(scratch));
    return decision;
}

}  // namespace pyad
