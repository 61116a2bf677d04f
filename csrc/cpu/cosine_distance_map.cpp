#include "pyad/cosine_distance_map.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <thread>
#include <vector>

#include "cosine_sums.h"
#include "ieee_arithmetic.h"
#include "lanes4.h"
#include "pyad/parallel.h"
#include "weighted_sum.h"

namespace pyad {
namespace {

constexpr float kEps = 1e-8f, kLargest = std::numeric_limits<float>::max();
constexpr int64_t kLocations = 1024;  // of a piece: its running sums stay in the nearest cache
constexpr int64_t kColumns = 64;      // of the map, widened together

// Locations [begin, end) of one picture of one pair.
struct Piece {
    int64_t pair, n, begin, end;
};

// Buffers of the calling thread, reused from call to call.
struct Scratch {
    std::vector<Piece> pieces;
    std::vector<int64_t> first;       // where a pair's distances begin
    std::vector<int64_t> first_wide;  // where a level's widened sums begin
    std::vector<float> distances;     // per pair (N, h, w)
    std::vector<float> wide;          // per level (N, h, W)
    std::vector<float> peaks, sums;   // of each row of the maps
    std::vector<int64_t> offsets;     // of a tap's row in `wide`
};

template <typename T>
T* sized(std::vector<T>& buffer, int64_t n) {
    if (static_cast<int64_t>(buffer.size()) < n) buffer.resize(static_cast<size_t>(n));
    return buffer.data();
}

// False if a location breaks the limits; its distance is NaN.
bool finish_distances(const ChannelSums& sums, int64_t n, float* __restrict out) {
    for (int64_t i = 0; i < n; ++i) {
        const float a = std::sqrt(sums.aa[i]), b = std::sqrt(sums.bb[i]);
        out[i] = 1.0f - sums.ab[i] / ((a > kEps ? a : kEps) * (b > kEps ? b : kEps));
    }
    bool all = true;
    for (int64_t i = 0; i < n; ++i) {
        const bool fits = (sums.aa[i] <= kLargest) & (sums.bb[i] <= kLargest) &
                          (std::fabs(sums.ab[i]) <= kLargest);
        out[i] = fits ? out[i] : std::numeric_limits<float>::quiet_NaN();
        all &= fits;
    }
    return all;
}

// Counts a piece of work as done when it goes out of scope, however that happens.
class Done {
  public:
    explicit Done(std::atomic<int64_t>& count) : count_(count) {}
    ~Done() { count_.fetch_add(1, std::memory_order_release); }
    Done(const Done&) = delete;
    Done& operator=(const Done&) = delete;

  private:
    std::atomic<int64_t>& count_;
};

void wait_for(const std::atomic<int64_t>& count, int64_t wanted) {
    for (int spins = 0; count.load(std::memory_order_acquire) < wanted; ++spins)
        if (spins > 1000) std::this_thread::yield();
}

// One call: distances of all pairs, columns, rows, each after the one before.
class Job {
  public:
    Job(const std::vector<FeaturePair>& pairs, const std::vector<MapLevel>& levels, int64_t N,
        Scratch& scratch)
        : pairs_(pairs),
          levels_(levels),
          N_(N),
          H_(levels[0].rows->rows),
          W_(levels[0].columns->rows),
          scratch_(scratch) {
        int64_t* first = sized(scratch.first, pairs.size() + 1);
        first[0] = 0;
        for (size_t k = 0; k < pairs.size(); ++k) first[k + 1] = first[k] + N * locations(k);
        int64_t* first_wide = sized(scratch.first_wide, levels.size() + 1);
        first_wide[0] = 0;
        for (size_t l = 0; l < levels.size(); ++l) {
            first_wide[l + 1] = first_wide[l] + N * levels[l].rows->columns * W_;
            taps_ = std::max(taps_, levels[l].rows->taps);
        }
        sized(scratch.distances, first[pairs.size()]);
        sized(scratch.wide, first_wide[levels.size()]);
        sized(scratch.peaks, N * H_);
        sized(scratch.sums, N * H_);
        int64_t* offsets = sized(scratch.offsets, taps_);
        for (int64_t t = 0; t < taps_; ++t) offsets[t] = t * W_;
        cut_into_pieces();
    }

    // False if a location breaks the limits. All passes are one parallel_for, because waking a
    // thread takes about as long as the shorter passes do. Pieces are begun in order: whoever waits
    // for those of an earlier pass waits for threads that are at work on them.
    bool run(float* maps) {
        const CosineKernels& kernels = cosine_kernels();
        const LinearKernels& linear = linear_kernels();
        const int64_t L = static_cast<int64_t>(levels_.size());
        const int64_t blocks = (W_ + kColumns - 1) / kColumns;
        const int64_t grain = 1 + 131072 / (W_ * taps_ * L);  // rows of a piece
        const int64_t first = static_cast<int64_t>(scratch_.pieces.size());
        const int64_t second = N_ * L * blocks, third = (N_ * H_ + grain - 1) / grain;
        std::atomic<int64_t> begun{0}, distances{0}, columns{0};
        std::atomic<bool> fit{true};
        parallel_for(first + second + third, 1, [&](int64_t, int64_t) {
            int64_t i = begun.fetch_add(1);
            if (i < first) {
                const Done done(distances);
                if (!distances_of(kernels, scratch_.pieces[i])) fit = false;
            } else if ((i -= first) < second) {
                const Done done(columns);
                wait_for(distances, first);
                const int64_t x = i % blocks * kColumns;
                widen(linear, i / blocks / L, i / blocks % L, x, std::min(W_, x + kColumns));
            } else {
                i -= second;
                wait_for(columns, second);
                for (int64_t row = i * grain; row < std::min(N_ * H_, (i + 1) * grain); ++row) {
                    float* out = maps + row * W_;
                    sum_row(linear, row / H_, row % H_, out);
                    kernels.row_statistics(out, W_, &scratch_.peaks[row], &scratch_.sums[row]);
                }
            }
        });
        return fit;
    }

    FeatureLocation first_beyond_the_limits() const {
        for (size_t k = 0;; ++k)
            for (int64_t i = scratch_.first[k]; i < scratch_.first[k + 1]; ++i)
                if (std::isnan(scratch_.distances[i])) {
                    const int64_t at = i - scratch_.first[k], in = at % locations(k);
                    const int64_t w = levels_[pairs_[k].level].columns->columns;
                    return {static_cast<int64_t>(k), at / locations(k), in / w, in % w};
                }
    }

    void statistics(float* maxima, float* means) const {
        for (int64_t n = 0; n < N_; ++n) {
            const float *peaks = scratch_.peaks.data() + n * H_,
                        *sums = scratch_.sums.data() + n * H_;
            double lanes[kRowSums] = {};
            for (int64_t y = 0; y < H_; ++y) lanes[y % kRowSums] += static_cast<double>(sums[y]);
            for (int64_t half = kRowSums / 2; half >= 1; half /= 2)
                for (int64_t l = 0; l < half; ++l) lanes[l] += lanes[l + half];
            means[n] = static_cast<float>(lanes[0] / static_cast<double>(H_ * W_));
            maxima[n] = *std::max_element(peaks, peaks + H_);
        }
    }

  private:
    int64_t locations(size_t k) const {
        const MapLevel& level = levels_[pairs_[k].level];
        return level.rows->columns * level.columns->columns;
    }

    // All locations, in pieces of about equal work, several for each thread.
    void cut_into_pieces() {
        int64_t values = 0;
        for (size_t k = 0; k < pairs_.size(); ++k) values += N_ * pairs_[k].C * locations(k);
        scratch_.pieces.clear();
        for (size_t k = 0; k < pairs_.size(); ++k) {
            const int64_t share = values / (4 * num_threads() * pairs_[k].C) / 64 * 64;
            const int64_t length = std::clamp<int64_t>(share, 64, kLocations);
            for (int64_t n = 0; n < N_; ++n)
                for (int64_t begin = 0; begin < locations(k); begin += length)
                    scratch_.pieces.push_back({static_cast<int64_t>(k), n, begin,
                                               std::min(locations(k), begin + length)});
        }
    }

    bool distances_of(const CosineKernels& kernels, const Piece& piece) const {
        float ab[kLocations], aa[kLocations], bb[kLocations];
        const ChannelSums sums{ab, aa, bb};
        const FeaturePair& pair = pairs_[piece.pair];
        const int64_t n = piece.end - piece.begin;
        const float* a = pair.a + piece.n * pair.stride_a;
        const float* b = pair.b + piece.n * pair.stride_b;
        if (pair.channels_last)
            kernels.pixels(a + piece.begin * pair.C, b + piece.begin * pair.C, pair.C, n, sums);
        else
            kernels.planes(a + piece.begin, b + piece.begin, pair.C, locations(piece.pair), n,
                           sums);
        return finish_distances(sums, n,
                                scratch_.distances.data() + scratch_.first[piece.pair] +
                                    piece.n * locations(piece.pair) + piece.begin);
    }

    // Weighted sum of a level's distances and up-sampling along x, to columns [begin, end). Both
    // on transposed maps, so that neighbouring rows share a vector.
    void widen(const LinearKernels& kernels, int64_t n, int64_t l, int64_t begin,
               int64_t end) const {
        static thread_local std::vector<float> sum_buffer, source_buffer, target_buffer;
        static thread_local std::vector<int64_t> offset_buffer;
        const Banded& columns = *levels_[l].columns;
        const int64_t h = levels_[l].rows->columns, w = columns.columns;
        const int64_t x0 = columns.first(begin), width = columns.last(end) - x0;
        float* sum = sized(sum_buffer, h * width);
        float* source = sized(source_buffer, h * width);
        float* target = sized(target_buffer, (end - begin) * h);
        std::fill(sum, sum + h * width, 0.0f);
        for (size_t k = 0; k < pairs_.size(); ++k) {
            if (pairs_[k].level != l) continue;
            const float* from =
                scratch_.distances.data() + scratch_.first[k] + n * locations(k) + x0;
            const float weight = pairs_[k].weight;
            for (int64_t y = 0; y < h; ++y)
                for (int64_t x = 0; x < width; ++x) sum[y * width + x] += weight * from[y * w + x];
        }
        transpose4(sum, width, h, width, source, h);
        int64_t* offsets = sized(offset_buffer, columns.taps);
        for (int64_t t = 0; t < columns.taps; ++t) offsets[t] = t * h;
        for (int64_t x = begin; x < end; ++x)
            kernels.weighted_sum(source + (columns.start[x] - x0) * h, offsets, columns.row(x),
                                 columns.count[x], h, false, target + (x - begin) * h);
        transpose4(target, h, end - begin, h,
                   scratch_.wide.data() + scratch_.first_wide[l] + n * h * W_ + begin, W_);
    }

    void sum_row(const LinearKernels& kernels, int64_t n, int64_t y, float* row) const {
        for (size_t l = 0; l < levels_.size(); ++l) {
            const Banded& rows = *levels_[l].rows;
            const float* wide = scratch_.wide.data() + scratch_.first_wide[l];
            kernels.weighted_sum(wide + (n * rows.columns + rows.start[y]) * W_,
                                 scratch_.offsets.data(), rows.row(y), rows.count[y], W_, l > 0,
                                 row);
        }
    }

    const std::vector<FeaturePair>& pairs_;
    const std::vector<MapLevel>& levels_;
    const int64_t N_, H_, W_;
    int64_t taps_ = 1;
    Scratch& scratch_;
};

}  // namespace

std::optional<FeatureLocation> cosine_distance_map(const std::vector<FeaturePair>& pairs,
                                                   const std::vector<MapLevel>& levels, int64_t N,
                                                   float* maps, float* maxima, float* means) {
    static thread_local Scratch scratch;
    const IeeeArithmetic arithmetic;
    Job job(pairs, levels, N, scratch);
    if (!job.run(maps)) return job.first_beyond_the_limits();
    job.statistics(maxima, means);
    return std::nullopt;
}

}  // namespace pyad
