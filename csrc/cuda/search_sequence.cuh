// The order of programs that prepares a bank and searches it, and the memory they share. `run` is
// called with (program, grid): on the device it launches, in a test it runs the program on the
// host.
#pragma once

#include "pyad/cuda/nearest_neighbors.h"
#include "search_rank.cuh"

namespace pyad::cuda {

constexpr size_t kEstimateBytes = size_t{64} << 20;  // of the estimates of one slab, about

// Hands out pieces of one allocation, 256-byte aligned; without a base it only counts.
class Pieces {
  public:
    explicit Pieces(void* base) : base_(static_cast<unsigned char*>(base)) {}
    template <typename T>
    T* take(int64_t n) {
        T* piece = base_ == nullptr ? nullptr : reinterpret_cast<T*>(base_ + used_);
        used_ += (static_cast<size_t>(n) * sizeof(T) + 255) / 256 * 256;
        return piece;
    }
    size_t used() const { return used_; }

  private:
    unsigned char* base_;
    size_t used_ = 0;
};

// A prepared bank's screen in one kind.
struct ScreenRows {
    const unsigned char* values;  // (padded M, pitch)
    const RowTerms* terms;        // (padded M)
};

struct SearchInput {
    const float* queries;
    const float* rows;
    const float* mean;
    ScreenRows screen;
    int64_t Q, M, D, k;
    float* distances;
    int64_t* indices;
};

template <typename Kind, typename Run>
void prepare_rows(const float* rows, int64_t M, int64_t D, const float* mean, unsigned char* values,
                  RowTerms* terms, int32_t* huge, const Run& run) {
    QuantizeRows<Kind> program{};
    program.rows = rows;
    program.n = M;
    program.padded = round_up_to(M, kTile);
    program.D = D;
    program.pitch = screen_pitch<Kind>(D);
    program.mean = mean;
    program.values = values;
    program.row_terms = terms;
    program.huge = huge;
    run(program, Grid{program.padded / (program.threads / kWarp)});
}

template <typename Run>
void prepare_mean(const float* rows, int64_t M, int64_t D, float* mean, const Run& run) {
    run(MeanOfRows{rows, M, D, mean}, Grid{(D + kWarp - 1) / kWarp});
}

// Queries of one slab of the gemm form.
inline int64_t slab_queries(int64_t Q, int64_t M) {
    const int64_t row = round_up_to(M, kTile) * static_cast<int64_t>(sizeof(float));
    const int64_t fit = static_cast<int64_t>(kEstimateBytes) / row / kTile * kTile;
    const int64_t padded = round_up_to(Q, kTile);
    return fit < kTile ? kTile : (fit < padded ? fit : padded);
}

struct SearchMemory {
    unsigned char* values;
    QueryTerms* terms;
    int32_t* state;
    int32_t* counts;
    uint32_t* bounds;
    Survivor* survivors;
    float* estimates;
    size_t bytes;
};

template <typename Kind>
SearchMemory search_memory(void* base, int64_t Q, int64_t M, int64_t D, int64_t k, bool fused) {
    const int64_t padded = round_up_to(Q, kTile);
    Pieces pieces(base);
    SearchMemory memory{};
    memory.values = pieces.take<unsigned char>(padded * screen_pitch<Kind>(D));
    memory.terms = pieces.take<QueryTerms>(padded);
    memory.state = pieces.take<int32_t>(padded);
    memory.counts = pieces.take<int32_t>(padded);
    memory.bounds = pieces.take<uint32_t>(padded * k);
    if (fused)
        memory.survivors = pieces.take<Survivor>(Q * kCapacity);
    else
        memory.estimates = pieces.take<float>(slab_queries(Q, M) * round_up_to(M, kTile));
    memory.bytes = pieces.used();
    return memory;
}

inline Ranking ranking_of(const SearchInput& in, int64_t first, const SearchMemory* memory) {
    Ranking ranking{};
    ranking.queries = in.queries + first * in.D;
    ranking.rows = in.rows;
    ranking.M = in.M;
    ranking.D = in.D;
    ranking.k = in.k;
    if (memory != nullptr) {
        ranking.query_terms = memory->terms + first;
        ranking.row_terms = in.screen.terms;
        ranking.state = memory->state + first;
    }
    ranking.distances = in.distances + first * in.k;
    ranking.indices = in.indices + first * in.k;
    return ranking;
}

template <typename Run>
void search_exactly(const SearchInput& in, const Run& run) {
    run(RankAll{ranking_of(in, 0, nullptr)}, Grid{in.Q});
}

template <typename Kind, typename Run>
void search_screened(const SearchInput& in, bool fused, void* workspace, const Run& run) {
    const SearchMemory memory = search_memory<Kind>(workspace, in.Q, in.M, in.D, in.k, fused);
    const int64_t pitch = screen_pitch<Kind>(in.D), padded_rows = round_up_to(in.M, kTile);
    QuantizeRows<Kind> prepare{};
    prepare.rows = in.queries;
    prepare.n = in.Q;
    prepare.padded = round_up_to(in.Q, kTile);
    prepare.D = in.D;
    prepare.pitch = pitch;
    prepare.mean = in.mean;
    prepare.values = memory.values;
    prepare.query_terms = memory.terms;
    prepare.state = memory.state;
    prepare.counts = memory.counts;
    prepare.bounds = memory.bounds;
    prepare.k = in.k;
    run(prepare, Grid{prepare.padded / (prepare.threads / kWarp)});

    ScreenSides sides{
        memory.values, in.screen.values, pitch, memory.terms, in.screen.terms, in.Q, in.M, in.D};
    if (fused) {
        run(ScreenProgram<Kind>{sides, in.k, memory.bounds, memory.counts, memory.survivors},
            Grid{sides.tiles()});
        run(RankSurvivors{ranking_of(in, 0, &memory), memory.bounds, memory.counts,
                          memory.survivors},
            Grid{in.Q});
        return;
    }
    const int64_t slab = slab_queries(in.Q, in.M);
    for (int64_t first = 0; first < in.Q; first += slab) {
        sides.queries = memory.values + first * pitch;
        sides.query_terms = memory.terms + first;
        sides.Q = in.Q - first < slab ? in.Q - first : slab;
        run(EstimateProgram<Kind>{sides, memory.estimates, padded_rows}, Grid{sides.tiles()});
        run(RankEstimates{ranking_of(in, first, &memory), memory.estimates, padded_rows},
            Grid{sides.Q});
    }
}

}  // namespace pyad::cuda
