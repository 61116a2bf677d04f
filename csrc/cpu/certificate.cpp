#include "pyad/certificate.h"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

#include "leave.h"
#include "screen.h"

namespace pyad {
namespace {

constexpr int64_t kLargestSide = 65536;  // products of sides and cells stay far below 2^63

void expect(bool right, const char* what) {
    if (!right)
        throw std::invalid_argument(std::string("[decide] expected a plan with ") + what +
                                    ". Make it with pyad_edge.heads.witness_plan.");
}

// The float32 tile leaves out bounds of rows that are not within: of those that are, the first of
// the least.
int least_of(uint32_t within, const float* bounds) {
    int least = __builtin_ctz(within);
    for (uint32_t rest = within; rest; rest &= rest - 1)
        if (bounds[__builtin_ctz(rest)] < bounds[least]) least = __builtin_ctz(rest);
    return least;
}

bool each_once(std::vector<int64_t> rows) {
    std::sort(rows.begin(), rows.end());
    for (size_t i = 0; i < rows.size(); ++i)
        if (rows[i] != static_cast<int64_t>(i)) return false;
    return true;
}

}  // namespace

Certificate::Certificate(const MemoryBank& bank, CertificatePlan plan)
    : kernels_(&screen_kernels()), bank_(bank), plan_(std::move(plan)) {
    const int64_t M = bank.size(), D = bank.dim();
    const int64_t listed = static_cast<int64_t>(plan_.panels.size());
    expect(plan_.h <= kLargestSide && plan_.w <= kLargestSide, "a grid of at most 65536 a side");
    expect(plan_.strips >= 1 && plan_.columns >= 1 && plan_.strips <= plan_.h &&
               plan_.columns <= plan_.w,
           "cells of at least one patch");
    const int64_t cells = plan_.strips * plan_.columns;
    expect(static_cast<int64_t>(plan_.order.size()) == M && each_once(plan_.order),
           "every row of the bank once");
    expect(listed % cells == 0, "as many panels for every cell");
    for (const int64_t panel : plan_.panels)
        expect(panel >= 0 && panel < (M + kPanel - 1) / kPanel, "panels of the bank");
    walk_ = listed / cells;
    std::vector<float> ordered(M * D);
    for (int64_t m = 0; m < M; ++m)
        std::copy_n(bank.row(plan_.order[m]), D, ordered.data() + m * D);
    mean_ = mean_of_rows(ordered.data(), M, D);
    if (kernels_->int8 && D <= kQuantizedDim) {
        quantized_ =
            std::make_unique<QuantizedRows>(ordered.data(), M, D, mean_.data(), *kernels_->int8);
        if (quantized_->huge()) quantized_.reset();
    } else {
        packed_ = std::make_unique<PackedRows>(ordered.data(), M, D, mean_.data());
        if (packed_->huge()) packed_.reset();
    }
}

void Certificate::certify(int64_t begin, int64_t end, const float* patches, float bar,
                          float* distances) const {
    if (!usable() || !(bar >= 0.0f)) return;
    thread_local std::vector<int64_t> members;
    thread_local std::vector<float> gathered, bars;
    thread_local PackedQueries packed;
    thread_local QuantizedQueries quantized;
    const int64_t D = bank_.dim();
    if (quantized_ && kernels_->int8->enter) kernels_->int8->enter();
    const Leave leave(quantized_ ? kernels_->int8->leave : nullptr);
    for (int64_t cell = begin * plan_.columns; cell < end * plan_.columns; ++cell) {
        const int64_t strip = cell / plan_.columns, column = cell % plan_.columns;
        members.clear();
        for (int64_t y = strip_begin(strip); y < strip_begin(strip + 1); ++y)
            for (int64_t x = column * plan_.w / plan_.columns;
                 x < (column + 1) * plan_.w / plan_.columns; ++x) {
                const int64_t patch = y * plan_.w + x;
                if (distances[patch] > bar) members.push_back(patch);
            }
        const int64_t n = static_cast<int64_t>(members.size());
        if (n == 0) continue;
        gathered.resize(n * D);
        for (int64_t i = 0; i < n; ++i)
            std::copy_n(patches + members[i] * D, D, gathered.data() + i * D);
        if (quantized_) {
            const QuantizedKernels& kernels = *kernels_->int8;
            quantized.pack(gathered.data(), n, D, mean_.data(), kernels);
            if (quantized.huge()) continue;
            for (int64_t i = 0; i < n; ++i) quantized.set_best(i, bar);
            const auto tile = [&](int64_t g, int64_t p, uint32_t* hits, float* bounds) {
                kernels.tile(quantized.group(g), quantized_->panel(p), quantized_->words(), hits,
                             bounds);
            };
            walk(cell, patches, members, bar, quantized, tile, distances);
        } else {
            bars.assign(n, bar);
            packed.pack(gathered.data(), n, *packed_, kernels_->MR, bars.data());
            if (packed.huge()) continue;
            const auto tile = [&](int64_t g, int64_t p, uint32_t* hits, float* bounds) {
                kernels_->tile(packed.group(g), packed_->panel(p), D, packed_->norms(p),
                               packed.thresholds(g), hits, bounds);
            };
            walk(cell, patches, members, bar, packed, tile, distances);
        }
    }
}

template <typename Queries, typename Tile>
void Certificate::walk(int64_t cell, const float* patches, const std::vector<int64_t>& members,
                       float bar, const Queries& queries, Tile&& tile, float* distances) const {
    const int MR = queries.MR();
    const int64_t D = bank_.dim(), n = static_cast<int64_t>(members.size());
    const auto open = [&](int64_t i) { return distances[members[i]] > bar; };
    uint32_t hits[kMaxTileHeight];
    float bounds[kMaxTileHeight * kPanel];
    for (int64_t g = 0; g < queries.groups(); ++g) {
        const int64_t first = g * MR, last = std::min(n, first + MR);
        int64_t left = last - first;
        for (int64_t step = 0; step < walk_ && left > 0; ++step) {
            const int64_t p = plan_.panels[cell * walk_ + step];
            tile(g, p, hits, bounds);
            for (int64_t i = first; i < last; ++i) {
                // The least bound of all: a row of large residual may be within with a larger one,
                // which leaves the patch open at worst.
                if (!hits[i - first] || !open(i)) continue;
                const float* bound = bounds + (i - first) * kPanel;
                const int64_t row = p * kPanel + (quantized_ ? kernels_->least(bound)
                                                             : least_of(hits[i - first], bound));
                if (row >= bank_.size()) continue;
                float& distance = distances[members[i]];
                const float found =
                    kernels_->canonical(patches + members[i] * D, bank_.row(plan_.order[row]), D);
                if (found < distance) distance = found;
                left -= found <= bar;
            }
        }
    }
}

}  // namespace pyad
