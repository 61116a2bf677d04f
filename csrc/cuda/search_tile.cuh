// The tile of the distance screen: 128 queries times 128 bank rows on the tensor cores, for halves
// and for bytes. Stages of 64 bytes of every row travel by cp.async, three deep; within a stage the
// 16-byte pieces of a row are permuted so that ldmatrix meets no bank conflict. Eight warps, each
// 32 queries times 64 rows.
#pragma once

#include "copy.h"
#include "search_rows.cuh"

namespace pyad::cuda {

constexpr int kStages = 3;
constexpr int kPieces = kStageBytes / 16;

struct Stage {
    unsigned char queries[kTile * kStageBytes];
    unsigned char rows[kTile * kStageBytes];
};

PYAD_DEVICE int piece_offset(int row, int piece) {
    return row * kStageBytes + (piece ^ (row >> 1 & (kPieces - 1))) * 16;
}

// One of the two halves of four registers, as a B fragment.
template <typename Fragments>
struct HalfOf {
    struct View {
        const uint32_t* reg;
    };
    const Fragments& fragments;
    int first;
    PYAD_DEVICE View operator[](int t) const { return {fragments[t].reg + first}; }
};

PYAD_DEVICE float product_of(float p) { return p; }
PYAD_DEVICE float product_of(int32_t p) { return static_cast<float>(p); }

template <typename Kind>
struct ScreenTile {
    static constexpr int threads = 256;
    using Fragment = typename Kind::Fragment;
    // [i][j]: queries 32 (warp / 2) + 16 i .., rows 64 (warp % 2) + 8 j ..
    PerThread<Fragment, threads> sums[2][8];

    // For each of the four queries of thread t: begin(query), then f(query, row, sum) for its 16
    // rows; query and row count within the tile.
    template <typename Begin, typename F>
    PYAD_DEVICE void for_each(int t, const Begin& begin, const F& f) {
        const int warp = t / kWarp, lane = t % kWarp;
        PYAD_UNROLL
        for (int i = 0; i < 2; ++i) {
            PYAD_UNROLL
            for (int half = 0; half < 2; ++half) {
                const int query = warp / 2 * 32 + 16 * i + 8 * half + lane / 4;
                begin(query);
                PYAD_UNROLL
                for (int j = 0; j < 8; ++j) {
                    PYAD_UNROLL
                    for (int r = 0; r < 2; ++r)
                        f(query, warp % 2 * 64 + 8 * j + 2 * (lane % 4) + r,
                          product_of(sums[i][j][t].reg[2 * half + r]));
                }
            }
        }
    }

    // The dot products of queries (128, pitch) and rows (128, pitch), bytes.
    PYAD_DEVICE void multiply(const Block& block, Stage* stages, const unsigned char* queries,
                              const unsigned char* rows, int64_t pitch) {
        const int steps = static_cast<int>(pitch / kStageBytes);
        const auto fetch = [&](int t, int step) {
            if (step < steps) {
                Stage& stage = stages[step % kStages];
                PYAD_UNROLL
                for (int i = 0; i < kTile * kPieces / threads; ++i) {
                    const int number = i * threads + t, row = number / kPieces,
                              piece = number % kPieces, at = piece_offset(row, piece);
                    const int64_t from = row * pitch + int64_t{step} * kStageBytes + piece * 16;
                    copy_async(t, stage.queries + at, queries + from);
                    copy_async(t, stage.rows + at, rows + from);
                }
            }
            commit_copies(t);  // empty groups keep the count
        };
        block.for_each_thread([&](int t) {
            PYAD_UNROLL
            for (int i = 0; i < 2; ++i) {
                PYAD_UNROLL
                for (int j = 0; j < 8; ++j) sums[i][j][t] = Fragment{};
            }
            for (int step = 0; step < kStages - 1; ++step) fetch(t, step);
        });
        for (int step = 0; step < steps; ++step) {
            // After the barrier the stage is there, and everybody is done with the one before it.
            block.for_each_thread([&](int t) { wait_copies<kStages - 2>(t); });
            block.for_each_warp_unfenced([&](const Warp& warp) {
                warp.for_each_lane([&](int t) { fetch(t, step + kStages - 1); });
                multiply_stage(warp, stages[step % kStages]);
            });
        }
        // Nothing is in flight, and the stages may be used for something else.
        block.for_each_thread([&](int t) { wait_copies<0>(t); });
    }

    PYAD_DEVICE void multiply_stage(const Warp& warp, const Stage& stage) {
        PYAD_UNROLL
        for (int k = 0; k < kPieces; k += 2) {
            PerLane<FragmentA> a[2], b[4];
            PYAD_UNROLL
            for (int i = 0; i < 2; ++i)
                load_matrices(warp, a[i], [&](int t) {
                    const int lane = t % kWarp, row = warp.index / 2 * 32 + 16 * i + lane % 16;
                    return stage.queries + piece_offset(row, k + lane / 16);
                });
            PYAD_UNROLL
            for (int j = 0; j < 4; ++j)
                load_matrices(warp, b[j], [&](int t) {
                    const int lane = t % kWarp,
                              row = warp.index % 2 * 64 + 16 * j + lane / 16 * 8 + lane % 8;
                    return stage.rows + piece_offset(row, k + lane / 8 % 2);
                });
            PYAD_UNROLL
            for (int i = 0; i < 2; ++i) {
                PYAD_UNROLL
                for (int j = 0; j < 8; ++j) {
                    const HalfOf<PerLane<FragmentA>> column{b[j / 2], j % 2 * 2};
                    if constexpr (Kind::bytes == 1)
                        mma_s8(warp, sums[i][j], a[i], column);
                    else
                        mma_f16(warp, sums[i][j], a[i], column);
                }
            }
        }
    }
};

}  // namespace pyad::cuda
