#include "pyad/memory_bank_head.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

#include "ieee_arithmetic.h"
#include "pyad/parallel.h"

namespace pyad {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr int64_t kKnown = 64;  // more neighbours than these are searched for every time
constexpr uint8_t kAbsent = 0, kWriting = 1, kThere = 2;

// e^x to about one unit in the last place (after fdlibm's e_exp.c, Sun Microsystems 1993); NaN of
// NaN, 0 where the result would be subnormal. Plain arithmetic: libraries differ in their last
// bits.
double exp_of(double x) {
    if (std::isnan(x)) return x;
    if (x < -708.0) return 0.0;
    if (x > 709.0) return std::numeric_limits<double>::infinity();
    const int power = static_cast<int>(1.4426950408889634 * x + (x < 0.0 ? -0.5 : 0.5));
    const double high = x - power * 6.93147180369123816490e-01;
    const double low = power * 1.90821492927058770002e-10;
    const double r = high - low, t = r * r;
    const double c =
        r - t * (1.66666666666666019037e-01 +
                 t * (-2.77777777770155933842e-03 +
                      t * (6.61375632143793436117e-05 +
                           t * (-1.65339022054652515390e-06 + t * 4.13813679705723846039e-08))));
    return std::ldexp(1.0 - ((low - r * c / (2.0 - c)) - high), power);
}

bool finite(const float* values, int64_t n) {
    // As all_finite, on this thread: x - x is 0 for finite values and NaN otherwise.
    float sums[64] = {};
    int64_t i = 0;
    for (; i + 64 <= n; i += 64)
        for (int l = 0; l < 64; ++l) sums[l] += values[i + l] - values[i + l];
    for (; i < n; ++i) sums[0] += values[i] - values[i];
    return std::all_of(sums, sums + 64, [](float sum) { return sum == 0.0f; });
}

}  // namespace

float reweighted_score(float squared, const float* around, int64_t k) {
    const double largest = std::sqrt(static_cast<double>(squared));
    // So that exp cannot overflow.
    const double shift = std::sqrt(static_cast<double>(around[k - 1]));
    // A neighbour farther than float32 reaches: its exp outgrows all others, and the weight is 1.
    if (std::isinf(shift)) return static_cast<float>(largest);
    double sum = 0.0;
    for (int64_t i = 0; i < k; ++i)
        sum += exp_of(std::sqrt(static_cast<double>(around[i])) - shift);
    return static_cast<float>(largest * (1.0 - exp_of(largest - shift) / sum));
}

// What one call works in; kept for the next one.
struct MemoryBankHead::Scratch {
    AlignedVector<float> patches;                  // (N, h, w, D)
    std::vector<float> squared;                    // (N, h, w)
    std::unique_ptr<std::atomic<int64_t>[]> left;  // (N) pieces to come
    int64_t pictures = 0;
    std::atomic<int> status{0};

    void fit(int64_t N, int64_t count, int64_t D) {
        if (static_cast<int64_t>(squared.size()) < N * count) squared.resize(N * count);
        if (static_cast<int64_t>(patches.size()) < N * count * D) patches.resize(N * count * D);
        if (pictures < N) left = std::make_unique<std::atomic<int64_t>[]>(N);
        pictures = std::max(pictures, N);
    }
};

struct MemoryBankHead::Call {
    const std::vector<FeatureMap>& features;
    const uint8_t* valid;
    const HeadScores& out;
    Scratch& scratch;
    float* squared;  // (N, h, w)
    int64_t h, w, D, strip, strips;
};

MemoryBankHead::MemoryBankHead(const AggregationPlan& plan, const MemoryBank& bank,
                               int64_t neighbors)
    : plan_(plan), bank_(bank), neighbors_(std::min(neighbors, bank.size())) {
    if (plan.dims != bank.dim() || neighbors < 0)
        throw std::invalid_argument("[memory_bank] expected a bank of rows of " +
                                    std::to_string(plan.dims) + " numbers, got " +
                                    std::to_string(bank.dim()) + ".");
    if (neighbors_ > 0 && neighbors_ <= kKnown) {
        states_ = std::make_unique<std::atomic<uint8_t>[]>(bank.size());
        for (int64_t m = 0; m < bank.size(); ++m) states_[m].store(kAbsent);
        known_.resize(bank.size() * neighbors_);
    }
}

MemoryBankHead::~MemoryBankHead() = default;

void MemoryBankHead::neighbors_of(int64_t row, int64_t* found) const {
    const int64_t at = row * neighbors_;
    if (states_ && states_[row].load(std::memory_order_acquire) == kThere) {
        std::copy_n(known_.data() + at, neighbors_, found);
        return;
    }
    thread_local std::vector<float> distances;
    distances.resize(neighbors_);
    bank_.search_here(bank_.row(row), 1, neighbors_, distances.data(), found);
    uint8_t absent = kAbsent;
    if (states_ && states_[row].compare_exchange_strong(absent, kWriting)) {
        std::copy_n(found, neighbors_, known_.data() + at);
        states_[row].store(kThere, std::memory_order_release);
    }
}

float MemoryBankHead::reweight(const float* patch, float squared, int64_t row) const {
    const IeeeArithmetic arithmetic;
    thread_local std::vector<int64_t> rows;
    thread_local std::vector<float> around;
    rows.resize(neighbors_);
    around.resize(neighbors_);
    neighbors_of(row, rows.data());
    for (int64_t i = 0; i < neighbors_; ++i) around[i] = bank_.distance(patch, rows[i]);
    std::sort(around.begin(), around.end());
    return reweighted_score(squared, around.data(), neighbors_);
}

HeadStatus MemoryBankHead::finish(const Call& call, int64_t n) const {
    const int64_t count = call.h * call.w;
    const float* squared = call.squared + n * count;
    float* distances = call.out.distances + n * count;
    float* patch = call.out.patch + n * count;
    int64_t* rows = call.out.rows + n * count;
    int64_t winner = -1;
    float largest = -1.0f;
    for (int64_t i = 0; i < count; ++i) {
        if (call.valid && !call.valid[n * count + i]) {
            distances[i] = patch[i] = 0.0f;
            rows[i] = -1;
            continue;
        }
        const float value = squared[i];
        if (!(value < kInfinity)) return HeadStatus::overflow;
        if (value > largest) {  // the first one, where patches tie
            largest = value;
            winner = i;
        }
    }
    if (winner < 0) return HeadStatus::no_patch;
    if (neighbors_ == 0) {
        for (int64_t i = 0; i < count; ++i)
            if (rows[i] >= 0) patch[i] = squared[i];
    }
    for (int64_t i = 0; i < count; ++i) distances[i] = rows[i] < 0 ? 0.0f : std::sqrt(squared[i]);
    if (neighbors_ > 0 && patch != distances) std::copy_n(distances, count, patch);
    call.out.image[n] = neighbors_ == 0
                            ? largest
                            : reweight(call.scratch.patches.data() + (n * count + winner) * call.D,
                                       largest, rows[winner]);
    return HeadStatus::ok;
}

void MemoryBankHead::run_piece(const Call& call, int64_t piece) const {
    Scratch& scratch = call.scratch;
    const auto fail = [&](HeadStatus status) {
        int none = 0;
        scratch.status.compare_exchange_strong(none, static_cast<int>(status));
    };
    const int64_t n = piece / call.strips, y0 = piece % call.strips * call.strip;
    const int64_t y1 = std::min(call.h, y0 + call.strip), count = (y1 - y0) * call.w;
    const int64_t first = (n * call.h + y0) * call.w;
    const float* patches = scratch.patches.data() + first * call.D;
    aggregate_rows(plan_, call.features, n, y0, y1, scratch.patches.data());
    if (!finite(patches, count * call.D))
        fail(HeadStatus::not_finite);
    else
        bank_.search_here(patches, count, 1, call.squared + first, call.out.rows + first);
    // Whoever ends the last piece sees what the others wrote.
    if (scratch.left[n].fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    if (scratch.status.load() != 0) return;
    const HeadStatus status = finish(call, n);
    if (status != HeadStatus::ok) fail(status);
}

HeadStatus MemoryBankHead::score(const std::vector<FeatureMap>& features, int64_t N,
                                 const uint8_t* valid, const HeadScores& out) const {
    if (N <= 0) return HeadStatus::ok;
    std::unique_ptr<Scratch> scratch;
    {
        std::lock_guard<std::mutex> lock(mutex_);
        if (!idle_.empty()) {
            scratch = std::move(idle_.back());
            idle_.pop_back();
        }
    }
    if (!scratch) scratch = std::make_unique<Scratch>();
    const int64_t h = features[0].h, w = features[0].w, threads = num_threads();
    scratch->fit(N, h * w, plan_.dims);
    scratch->status.store(0);
    // Equal strips, one for each thread; whole pictures where there are enough of them.
    const int64_t pieces = N >= 2 * threads ? 1 : (threads + N - 1) / N;
    const int64_t strip = (h + pieces - 1) / pieces, strips = (h + strip - 1) / strip;
    for (int64_t n = 0; n < N; ++n) scratch->left[n].store(strips);
    const Call call{features, valid, out,        *scratch, scratch->squared.data(),
                    h,        w,     plan_.dims, strip,    strips};
    const struct {
        const MemoryBankHead& head;
        const Call& call;
    } self{*this, call};
    // One reference only: a larger closure would be allocated.
    parallel_for(N * strips, 1, [&self](int64_t begin, int64_t end) {
        for (int64_t piece = begin; piece < end; ++piece) self.head.run_piece(self.call, piece);
    });
    const auto status = static_cast<HeadStatus>(scratch->status.load());
    std::lock_guard<std::mutex> lock(mutex_);
    idle_.push_back(std::move(scratch));
    return status;
}

}  // namespace pyad
