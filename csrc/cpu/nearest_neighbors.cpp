#include "pyad/nearest_neighbors.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "leave.h"
#include "nearest_screen.h"
#include "pyad/parallel.h"
#include "two_pass_screen.h"

namespace pyad {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr int64_t kBlock = 192;             // rows contracted at a time
constexpr int64_t kQueryBytes = 768 << 10;  // of the queries of one block: they stay in L2

// Keeps the k best (distance, index) pairs, sorted; a row that is there already is not inserted
// again. Filled with (infinity, M), which every row beats.
void insert(float distance, int64_t index, int64_t k, float* distances, int64_t* indices) {
    const auto before = [&](int64_t j) {
        return distance < distances[j] || (distance == distances[j] && index < indices[j]);
    };
    if (!before(k - 1)) return;
    for (int64_t i = 0; i < k; ++i)
        if (indices[i] == index) return;
    int64_t j = k - 1;
    for (; j > 0 && before(j - 1); --j) {
        distances[j] = distances[j - 1];
        indices[j] = indices[j - 1];
    }
    distances[j] = distance;
    indices[j] = index;
}

constexpr int64_t kContractedDim = 8192;  // beyond it the constants of contraction.h are too small

Screen choose(Screen wanted, const ScreenKernels& kernels, int64_t dim) {
    const bool int8 = kernels.int8 && dim <= kQuantizedDim;
    if (wanted == Screen::automatic) return int8 ? Screen::int8 : Screen::float32;
    const bool bfloat16 = kernels.bfloat16 && dim <= kBfloat16Dim;
    if ((wanted == Screen::int8 && !int8) || (wanted == Screen::bfloat16 && !bfloat16))
        throw std::invalid_argument(
            std::string("[nearest_neighbors] the CPU level in use has no ") +
            (wanted == Screen::int8 ? "int8" : "bfloat16") + " screen for rows of " +
            std::to_string(dim) + " numbers. Use screen='auto'.");
    return wanted;
}

}  // namespace

Screen chosen_screen(Screen wanted, int64_t D) { return choose(wanted, screen_kernels(), D); }

float canonical_distance(const float* a, const float* b, int64_t D) {
    return screen_kernels().canonical(a, b, D);
}

bool all_finite(const float* values, int64_t n) {
    std::atomic<bool> finite{true};
    parallel_for(n, 1 << 18, [&](int64_t begin, int64_t end) {
        // x - x is 0 for finite values and NaN otherwise; sums of zeros vectorise, branches do not.
        float sums[16] = {};
        int64_t i = begin;
        for (; i + 16 <= end; i += 16)
            for (int l = 0; l < 16; ++l) sums[l] += values[i + l] - values[i + l];
        for (; i < end; ++i) sums[0] += values[i] - values[i];
        for (const float sum : sums)
            if (sum != 0.0f) finite.store(false);
    });
    return finite.load();
}

MemoryBank::MemoryBank(const float* rows, int64_t M, int64_t D, const SearchOptions& options)
    : kernels_(&screen_kernels()), M_(M), D_(D), rows_(rows, rows + M * D) {
    std::vector<float> images, mean = mean_of_rows(rows, M, D);
    int64_t dim = D;
    if (options.basis && D <= kContractedDim) {
        contraction_ = std::make_unique<Contraction>(options.basis, D, options.basis_dim,
                                                     mean.data(), *kernels_);
        dim = contraction_->dim();
        images.resize(M * dim);
        std::vector<float> slacks(M);
        parallel_for(M, kBlock, [&](int64_t begin, int64_t end) {
            contraction_->apply(rows + begin * D, end - begin, images.data() + begin * dim,
                                slacks.data() + begin);
        });
        slack_ = *std::max_element(slacks.begin(), slacks.end());
        rows = images.data();
        mean = mean_of_rows(rows, M, dim);
    }
    screen_ = choose(options.screen, *kernels_, dim);
    if (std::isinf(slack_)) return;
    if (screen_ == Screen::float32) {
        packed_ = std::make_unique<PackedRows>(rows, M, dim, mean.data());
        if (packed_->huge()) packed_.reset();
    } else {
        quantized_kernels_ = screen_ == Screen::int8 ? kernels_->int8 : kernels_->bfloat16;
        quantized_ =
            std::make_unique<QuantizedRows>(rows, M, dim, mean.data(), *quantized_kernels_);
        if (quantized_->huge()) quantized_.reset();
        if (quantized_ && quantized_kernels_->nearest)
            tiles_ = std::make_unique<TiledRows>(*quantized_);
        mean_ = std::move(mean);
    }
}

MemoryBank::~MemoryBank() = default;

int64_t MemoryBank::screened_dim() const { return contraction_ ? contraction_->dim() : D_; }

void MemoryBank::search(const float* queries, int64_t Q, int64_t k, float* distances,
                        int64_t* indices, int64_t* evaluated) const {
    // Equal shares for every thread, each of whole tiles.
    const int64_t tile = quantized_ ? quantized_kernels_->MR : kernels_->MR;
    const int64_t bytes = quantized_ ? quantized_->words() * 4 : screened_dim() * 4;
    const int64_t fitting = std::min(two_pass_block(M_), kQueryBytes / bytes);
    const int64_t largest = std::max<int64_t>(48, fitting) * num_threads();
    const int64_t rounds = (Q + largest - 1) / largest;
    const int64_t share =
        (Q + rounds * num_threads() - 1) / std::max<int64_t>(1, rounds * num_threads());
    const int64_t block = std::max<int64_t>(tile, (share + tile - 1) / tile * tile);
    parallel_for(Q, block, [&](int64_t begin, int64_t end) {
        std::fill(distances + begin * k, distances + end * k, kInfinity);
        std::fill(indices + begin * k, indices + end * k, size());
        if (evaluated) std::fill(evaluated + begin, evaluated + end, 0);
        search_block(queries + begin * D_, end - begin, k, distances + begin * k,
                     indices + begin * k, evaluated ? evaluated + begin : nullptr);
    });
}

void MemoryBank::search_here(const float* queries, int64_t Q, int64_t k, float* distances,
                             int64_t* indices) const {
    const int64_t tile = quantized_ ? quantized_kernels_->MR : kernels_->MR;
    const int64_t bytes = quantized_ ? quantized_->words() * 4 : screened_dim() * 4;
    const int64_t block = std::max<int64_t>(48, std::max(tile, kQueryBytes / bytes) / tile * tile);
    for (int64_t begin = 0; begin < Q; begin += block) {
        const int64_t count = std::min(block, Q - begin);
        std::fill_n(distances + begin * k, count * k, kInfinity);
        std::fill_n(indices + begin * k, count * k, size());
        search_block(queries + begin * D_, count, k, distances + begin * k, indices + begin * k,
                     nullptr);
    }
}

float MemoryBank::distance(const float* query, int64_t m) const {
    return kernels_->canonical(query, row(m), D_);
}

void MemoryBank::search_block(const float* queries, int64_t Q, int64_t k, float* distances,
                              int64_t* indices, int64_t* evaluated) const {
    // Evaluates rows canonically; returns the distance of the k-th best so far.
    const auto visit = [&](int64_t q, const int64_t* rows, int64_t count) {
        const float* query = queries + q * D_;
        const float* values[kBatch];
        float found[kBatch];
        for (int64_t i = 0; i < kBatch; ++i)
            values[i] = rows_.data() + rows[i < count ? i : 0] * D_;
        if (count == kBatch) {
            kernels_->canonical_batch(query, values, D_, found);
        } else {
            for (int64_t i = 0; i < count; ++i)
                found[i] = kernels_->canonical(query, values[i], D_);
        }
        for (int64_t i = 0; i < count; ++i)
            insert(found[i], rows[i], k, distances + q * k, indices + q * k);
        if (evaluated) evaluated[q] += count;
        return distances[q * k + k - 1];
    };
    if (screened(queries, Q, k, visit)) return;
    for (int64_t q = 0; q < Q; ++q)
        for (int64_t m = 0; m < M_; ++m) visit(q, &m, 1);
}

template <typename Visit>
bool MemoryBank::screened(const float* queries, int64_t Q, int64_t k, Visit&& visit) const {
    if (!packed_ && !quantized_) return false;
    thread_local std::vector<float> images, slacks;
    const float* screened = queries;
    const int64_t dim = screened_dim();
    if (contraction_) {
        images.resize(Q * dim);
        slacks.resize(Q);
        contraction_->apply(queries, Q, images.data(), slacks.data());
        for (int64_t q = 0; q < Q; ++q)
            if (std::isinf(slacks[q])) return false;
        screened = images.data();
    }
    // A canonical distance of the originals as one that no image may exceed.
    const double widening = 1.0 + (static_cast<double>(D_) / 32.0 + 16.0) / 16777216.0;
    const auto visit_image = [&](int64_t q, const int64_t* rows, int64_t count) {
        const float best = visit(q, rows, count);
        if (!contraction_ || std::isinf(best)) return best;
        const double reach = std::sqrt(static_cast<double>(best)) * widening + slacks[q] + slack_;
        return std::nextafter(static_cast<float>(reach * reach), kInfinity);
    };
    if (packed_) {
        thread_local PackedQueries packed;
        thread_local std::vector<float> bars;
        bars.assign(Q, kInfinity);
        packed.pack(screened, Q, *packed_, kernels_->MR, bars.data());
        if (packed.huge()) return false;
        TwoPassScreen(*kernels_, *packed_, packed, Q, k, visit_image)
            .run(
                [&](int64_t g, int64_t p, uint32_t* hits, float* bounds) {
                    kernels_->tile(packed.group(g), packed_->panel(p), dim, packed_->norms(p),
                                   packed.thresholds(g), hits, bounds);
                },
                [&](int64_t g, int64_t p, const Levels& levels, uint8_t* estimates, int64_t step) {
                    kernels_->estimate(packed.group(g), packed_->panel(p), dim, packed_->norms(p),
                                       levels, estimates, step);
                });
        return true;
    }
    thread_local QuantizedQueries packed;
    const QuantizedKernels& kernels = *quantized_kernels_;
    const bool nearest = tiles_ && k == 1;
    packed.pack(screened, Q, dim, mean_.data(), kernels, nearest);
    if (packed.huge()) return false;
    const int64_t words = quantized_->words();
    if (kernels.enter) kernels.enter();
    const Leave leave(kernels.leave);
    if (nearest) {
        NearestScreen(*kernels.nearest, *quantized_, *tiles_, packed, Q, visit_image).run();
        return true;
    }
    TwoPassScreen(*kernels_, *quantized_, packed, Q, k, visit_image)
        .run(
            [&](int64_t g, int64_t p, uint32_t* hits, float* bounds) {
                kernels.tile(packed.group(g), quantized_->panel(p), words, hits, bounds);
            },
            [&](int64_t g, int64_t p, const Levels& levels, uint8_t* estimates, int64_t step) {
                kernels.estimate(packed.group(g), quantized_->panel(p), words, levels, estimates,
                                 step);
            });
    return true;
}

}  // namespace pyad
