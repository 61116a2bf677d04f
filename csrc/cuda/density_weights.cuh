// density_weights as block programs.
#pragma once

#include <stdexcept>

#include "density_pack.cuh"
#include "mma.h"
#include "pyad/cuda/density_weights.h"

namespace pyad::cuda {

// 64 features against one segment of the queue; each of four warps has 16 features and all 32 rows
// of a panel. A thread holds two features (8 apart in its warp's 16) and, of each, four of the
// sixteen partial sums: those of rows 2p, 2p + 1, 8 + 2p and 9 + 2p of a run, p = lane % 4.
struct DensitySums {
    static constexpr int threads = 128;
    static constexpr int height = 64;
    static constexpr int rows = height + kDensityPanel;  // of a stage, each of two parts
    static constexpr int pieces = kDensityStep / 16;
    static constexpr int tiles = kDensityPanel / 8;
    struct alignas(16) Piece {
        uint32_t words[4];
    };
    struct Shared {
        Piece stages[2][2 * rows * pieces];
    };
    // The dot products of one thread: [feature][column within the panel, four times two].
    struct Dots {
        int32_t of[2][2 * tiles];
    };
    struct Sums {
        float of[2][4];
        int32_t reference[2];
    };

    const signed char* features;  // packed
    const signed char* queue;
    int64_t Q, pitch, segments;
    DensityExponent exponent;
    int32_t* references;  // (features, segments), as the sums
    float* sums;

    // Where piece p of a row stands: permuted, so that ldmatrix meets no bank conflict.
    PYAD_DEVICE static int place(int row, int piece) {
        return row * pieces + (piece ^ (row >> 1 & (pieces - 1)));
    }
    PYAD_DEVICE static int feature_row(int part, int row) { return part * height + row; }
    PYAD_DEVICE static int queue_row(int part, int row) {
        return 2 * height + part * static_cast<int>(kDensityPanel) + row;
    }

    PYAD_DEVICE void operator()(const Block& block, Shared& shared) const {
        const int64_t segment = block.x % segments, tile = block.x / segments;
        const int64_t run = panels_of_segment(Q), first = segment * run;
        const int64_t all = density_panels(Q);
        const int64_t panels = first + run < all ? run : all - first;
        const int64_t chunks = pitch / kDensityStep, steps = panels * chunks;
        PerThread<FragmentS32, threads> high[tiles], mixed[tiles], low[tiles];
        PerThread<Sums, threads> mine;
        block.for_each_thread([&](int t) {
            mine[t] = Sums{{}, {kDensityUnit * kDensityUnit, kDensityUnit * kDensityUnit}};
            fetch(t, shared, tile, first, chunks, 0);
        });
        for (int64_t step = 0; step < steps; ++step) {
            const int64_t panel = step / chunks, chunk = step % chunks;
            block.for_each_warp([&](const Warp& warp) {
                if (chunk == 0)
                    warp.for_each_lane([&](int t) {
                        PYAD_UNROLL
                        for (int j = 0; j < tiles; ++j)
                            high[j][t] = mixed[j][t] = low[j][t] = FragmentS32{};
                    });
                // The other stage was last read before the barrier.
                warp.for_each_lane([&](int t) {
                    if (step + 1 < steps) fetch(t, shared, tile, first, chunks, step + 1);
                });
                multiply(warp, shared.stages[step % 2], high, mixed, low);
                if (chunk + 1 < chunks) return;
                PerLane<Dots> dots;
                warp.for_each_lane([&](int t) {
                    PYAD_UNROLL
                    for (int j = 0; j < tiles; ++j) {
                        PYAD_UNROLL
                        for (int i = 0; i < 4; ++i)
                            dots[t].of[i / 2][2 * j + i % 2] =
                                (high[j][t].reg[i] * 256 + mixed[j][t].reg[i]) * 256 +
                                low[j][t].reg[i];
                    }
                });
                absorb(warp, dots, mine, Q - (first + panel) * kDensityPanel, panel == 0);
            });
        }
        finish(block, mine, tile, segment);
    }

    // Bytes chunk * 64 .. of the features and of one panel, high and low parts.
    PYAD_DEVICE void fetch(int t, Shared& shared, int64_t tile, int64_t first, int64_t chunks,
                           int64_t step) const {
        const int64_t panel = first + step / chunks, from = step % chunks * kDensityStep;
        Piece* stage = shared.stages[step % 2];
        for (int i = t; i < 2 * rows * pieces; i += threads) {
            const int piece = i % pieces, part = i / pieces % 2, row = i / pieces / 2;
            const bool feature = row < height;
            const int64_t j = feature ? tile * height + row : panel * kDensityPanel + row - height;
            const int to = feature ? feature_row(part, row) : queue_row(part, row - height);
            stage[place(to, piece)] = *reinterpret_cast<const Piece*>(
                (feature ? features : queue) + (j * 2 + part) * pitch + from + piece * 16);
        }
    }

    // A half of four registers, as a B fragment.
    struct Columns {
        struct View {
            const uint32_t* reg;
        };
        const PerLane<FragmentA>& fragments;
        int begin;
        PYAD_DEVICE View operator[](int t) const { return {fragments[t].reg + begin}; }
    };

    template <typename Products>
    PYAD_DEVICE static void multiply(const Warp& warp, const Piece* stage, Products& high,
                                     Products& mixed, Products& low) {
        PYAD_UNROLL
        for (int piece = 0; piece < pieces; piece += 2) {
            PerLane<FragmentA> a[2], b[2][tiles / 2];  // [part]
            PYAD_UNROLL
            for (int part = 0; part < 2; ++part) {
                load_matrices(warp, a[part], [&](int t) {
                    const int lane = t % kWarp;
                    return stage +
                           place(feature_row(part, warp.index * 16 + lane % 16), piece + lane / 16);
                });
                PYAD_UNROLL
                for (int j = 0; j < tiles / 2; ++j)
                    load_matrices(warp, b[part][j], [&](int t) {
                        const int lane = t % kWarp;
                        return stage + place(queue_row(part, j * 16 + lane / 16 * 8 + lane % 8),
                                             piece + lane / 8 % 2);
                    });
            }
            PYAD_UNROLL
            for (int j = 0; j < tiles; ++j) {
                const Columns upper{b[0][j / 2], j % 2 * 2}, lower{b[1][j / 2], j % 2 * 2};
                mma_s8(warp, high[j], a[0], upper);
                mma_s8(warp, mixed[j], a[0], lower);
                mma_s8(warp, mixed[j], a[1], upper);
                mma_s8(warp, low[j], a[1], lower);
            }
        }
    }

    // Adds the kernel values of one panel, `left` rows of which exist.
    template <typename Mine>
    PYAD_DEVICE void absorb(const Warp& warp, const PerLane<Dots>& dots, Mine& mine, int64_t left,
                            bool first) const {
        PYAD_UNROLL
        for (int f = 0; f < 2; ++f) {
            if (!exponent.fixed && first) {
                PerLane<int32_t> start;  // the first row's, which the lanes p = 0 have
                warp.for_each_lane(
                    [&](int t) { start[t] = t % 4 == 0 ? dots[t].of[f][0] : INT32_MIN; });
                largest_of_four(warp, start);
                warp.for_each_lane([&](int t) { mine[t].reference[f] = start[t]; });
            }
            PYAD_UNROLL
            for (int run = 0; run < 2; ++run) {
                if (!exponent.fixed) raise(warp, dots, mine, left, f, run);
                warp.for_each_lane([&](int t) {
                    PYAD_UNROLL
                    for (int i = 0; i < 4; ++i) {
                        if (column(t, 4 * run + i) >= left) continue;
                        mine[t].of[f][i] = add(mine[t].of[f][i],
                                               kernel_value(dots[t].of[f][4 * run + i],
                                                            mine[t].reference[f], exponent.scale));
                    }
                });
            }
        }
    }

    // Which of the panel's rows dots[t].of[..][i] belongs to.
    PYAD_DEVICE static int column(int t, int i) { return i / 2 * 8 + t % 4 * 2 + i % 2; }

    PYAD_DEVICE static void largest_of_four(const Warp& warp, PerLane<int32_t>& values) {
        const auto larger = [](int32_t a, int32_t b) { return a > b ? a : b; };
        warp.exchange(values, 1, larger);
        warp.exchange(values, 2, larger);
    }

    // Brings a feature's sums to the largest dot product of a run, where it is far above.
    template <typename Mine>
    PYAD_DEVICE void raise(const Warp& warp, const PerLane<Dots>& dots, Mine& mine, int64_t left,
                           int f, int run) const {
        PerLane<int32_t> largest;
        warp.for_each_lane([&](int t) {
            largest[t] = INT32_MIN;
            PYAD_UNROLL
            for (int i = 4 * run; i < 4 * run + 4; ++i)
                if (column(t, i) < left && dots[t].of[f][i] > largest[t])
                    largest[t] = dots[t].of[f][i];
        });
        largest_of_four(warp, largest);
        warp.for_each_lane([&](int t) {
            const int32_t reference = mine[t].reference[f];
            if (run * kDensityRun >= left || largest[t] <= reference ||
                mul(exponent.scale, static_cast<float>(largest[t] - reference)) <= kDensityCeiling)
                return;
            const float factor = kernel_value(reference, largest[t], exponent.scale);
            PYAD_UNROLL
            for (int i = 0; i < 4; ++i) mine[t].of[f][i] = mul(mine[t].of[f][i], factor);
            mine[t].reference[f] = largest[t];
        });
    }

    // Partial sums in halves: l with l + 8, l + 4, l + 2, l + 1.
    template <typename Mine>
    PYAD_DEVICE void finish(const Block& block, Mine& mine, int64_t tile, int64_t segment) const {
        block.for_each_warp([&](const Warp& warp) {
            PYAD_UNROLL
            for (int f = 0; f < 2; ++f) {
                PerLane<float> even, odd;
                warp.for_each_lane([&](int t) {
                    even[t] = add(mine[t].of[f][0], mine[t].of[f][2]);
                    odd[t] = add(mine[t].of[f][1], mine[t].of[f][3]);
                });
                const auto sum = [](float a, float b) { return add(a, b); };
                warp.exchange(even, 2, sum);
                warp.exchange(odd, 2, sum);
                warp.exchange(even, 1, sum);
                warp.exchange(odd, 1, sum);
                warp.for_each_lane([&](int t) {
                    if (t % 4 != 0) return;
                    const int64_t i = tile * height + warp.index * 16 + t % kWarp / 4 + 8 * f;
                    references[i * segments + segment] = mine[t].reference[f];
                    sums[i * segments + segment] = add(even[t], odd[t]);
                });
            }
        });
    }
};

// The programs of one call and their grids; lays the workspace out.
struct DensityCall {
    DensityPack pack_features, pack_queue;
    DensitySums sums;
    DensityFinish finish;
    int64_t tiles, padded_queue;
    size_t bytes = 0;

    DensityCall(const float* features, int64_t q, const float* queue, int64_t Q, int64_t D,
                double beta, void* workspace, float* log_weights)
        : tiles((q + DensitySums::height - 1) / DensitySums::height),
          padded_queue(density_panels(Q) * kDensityPanel) {
        if (Q < 1 || D < 1 || D > kDensityMaxDim || !(beta > 0.0 && beta <= kDensityMaxBeta) ||
            tiles * kDensitySegments >= int64_t{1} << 31 || padded_queue >= int64_t{1} << 31)
            throw std::invalid_argument(
                "[density_weights] expected Q from 1 to 2^31 - 32, D from 1 to 65536, 0 < beta <= "
                "1000 and fewer than 2^33 features.");
        const int64_t padded = tiles * DensitySums::height;
        const int64_t pitch = (D + kDensityStep - 1) / kDensityStep * kDensityStep;
        const int64_t run = panels_of_segment(Q), segments = (density_panels(Q) + run - 1) / run;
        auto* packed = part<signed char>(workspace, padded * 2 * pitch);
        auto* packed_queue = part<signed char>(workspace, padded_queue * 2 * pitch);
        auto* poison = part<float>(workspace, q);
        auto* queue_poison = part<float>(workspace, Q);
        auto* references = part<int32_t>(workspace, padded * segments);
        auto* partial = part<float>(workspace, padded * segments);
        const DensityExponent exponent = exponent_of(beta);
        pack_features = {features, q, D, pitch, packed, poison};
        pack_queue = {queue, Q, D, pitch, packed_queue, queue_poison};
        sums = {packed, packed_queue, Q, pitch, segments, exponent, references, partial};
        finish = {references, partial, segments,       poison, queue_poison,
                  q,          Q,       exponent.scale, beta,   log_weights};
    }

    Grid feature_rows() const { return {tiles * DensitySums::height / DensityPack::rows_of_block}; }
    Grid queue_rows() const { return {padded_queue / DensityPack::rows_of_block}; }
    Grid blocks() const { return {tiles * sums.segments}; }
    Grid features() const { return {(finish.q + DensityFinish::threads - 1) / finish.threads}; }

  private:
    template <typename T>
    T* part(void* workspace, int64_t n) {
        char* begin = static_cast<char*>(workspace);
        T* here = begin == nullptr ? nullptr : reinterpret_cast<T*>(begin + bytes);
        bytes += (static_cast<size_t>(n) * sizeof(T) + 15) / 16 * 16;
        return here;
    }
};

}  // namespace pyad::cuda
