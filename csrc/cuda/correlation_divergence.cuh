// correlation_divergence as block programs.
#pragma once

#include <stdexcept>
#include <string>

#include "block.h"
#include "pyad/cuda/correlation_divergence.h"
#include "pyad/vector_math.h"

namespace pyad::cuda {

// 32 rows of one head of one picture. A thread holds four rows and one of the sixteen lanes of
// their sums: keys lane, lane + 16, ... in this order.
struct CorrelationRows {
    static constexpr int threads = 128, lanes = 16;
    static constexpr int height = 4, rows = threads / lanes * height;  // rows of a thread, a block
    static constexpr int width = 4, keys_held = width * lanes;         // keys of a thread, a block
    static constexpr int depth = 32;                                   // dimensions held at a time
    static constexpr int row_pitch = rows + 4, key_pitch = keys_held + 4;
    struct Shared {
        float queries[depth][row_pitch];
        float keys[depth][key_pitch];
    };
    struct Four {
        float v[height];
    };
    struct Tile {
        float v[height][width];
    };
    // Of a key in the grid.
    struct Place {
        int32_t x, y;
    };

    const float *queries, *keys, *sigma_x, *sigma_y;
    CorrelationShape shape;
    float factor;  // log2(e) scale
    float* per_head;

    static int64_t blocks_of_rows(int64_t L) { return (L + rows - 1) / rows; }
    size_t extra_shared_bytes() const {
        return static_cast<size_t>(rows * (shape.w + shape.h)) * sizeof(float);
    }

    PYAD_DEVICE static int lane_of(int t) { return t % lanes; }
    PYAD_DEVICE static int row_of(int t) { return t / lanes * height; }

    PYAD_DEVICE void operator()(const Block& block, Shared& shared) const {
        const int64_t L = shape.h * shape.w, blocks = (L + rows - 1) / rows;
        const int64_t head = block.x / blocks, first = block.x % blocks * rows;
        const int64_t own = shape.shared_keys ? head % shape.heads : head;
        const float* q = queries + (head * L + first) * shape.d;
        const float* k = keys + own * L * shape.d;
        const int32_t held = static_cast<int32_t>(L - first < rows ? L - first : rows);
        float* columns = block.extra<float>();    // (rows, w)
        float* lines = columns + rows * shape.w;  // (rows, h)

        PerThread<Tile, threads> dots;
        PerThread<Four, threads> maximum, sum, divergence;
        PerThread<Place, threads> place;
        axis(block, sum, sigma_x + head * L + first, held, first, false, columns);
        axis(block, sum, sigma_y + head * L + first, held, first, true, lines);

        block.for_each_thread([&](int t) { fill(maximum[t], float_of(0xff800000u)); });
        for (int64_t j = 0; j < L; j += keys_held) {
            multiply(block, shared, q, held, k + j * shape.d, L - j, dots);
            each(block, L - j, [&](int t, int c) {
                PYAD_UNROLL
                for (int r = 0; r < height; ++r)
                    maximum[t].v[r] =
                        dots[t].v[r][c] > maximum[t].v[r] ? dots[t].v[r][c] : maximum[t].v[r];
            });
        }
        over_lanes(block, maximum, [](float a, float b) { return b > a ? b : a; });

        block.for_each_thread([&](int t) { fill(sum[t], 0.0f); });
        for (int64_t j = 0; j < L; j += keys_held) {
            multiply(block, shared, q, held, k + j * shape.d, L - j, dots);
            each(block, L - j, [&](int t, int c) {
                PYAD_UNROLL
                for (int r = 0; r < height; ++r)
                    sum[t].v[r] = add(sum[t].v[r], exponential(dots[t].v[r][c], maximum[t].v[r]));
            });
        }
        over_lanes(block, sum, [](float a, float b) { return add(a, b); });

        block.for_each_thread([&](int t) {
            fill(divergence[t], 0.0f);
            PYAD_UNROLL
            for (int r = 0; r < height; ++r) sum[t].v[r] = div(1.0f, sum[t].v[r]);
            place[t] = {static_cast<int32_t>(lane_of(t) % shape.w),
                        static_cast<int32_t>(lane_of(t) / shape.w)};
        });
        for (int64_t j = 0; j < L; j += keys_held) {
            multiply(block, shared, q, held, k + j * shape.d, L - j, dots);
            each(block, L - j, [&](int t, int c) {
                PYAD_UNROLL
                for (int r = 0; r < height; ++r) {
                    const float s = mul(exponential(dots[t].v[r][c], maximum[t].v[r]), sum[t].v[r]);
                    const float target = mul(lines[(row_of(t) + r) * shape.h + place[t].y],
                                             columns[(row_of(t) + r) * shape.w + place[t].x]);
                    const float ratio =
                        log_ratio_of(add(s, kCorrelationEps), add(target, kCorrelationEps));
                    divergence[t].v[r] = add(divergence[t].v[r], mul(sub(s, target), ratio));
                }
                step(place[t]);
            });
        }
        over_lanes(block, divergence, [](float a, float b) { return add(a, b); });
        block.for_each_thread([&](int t) {
            PYAD_UNROLL
            for (int r = 0; r < height; ++r)
                if (lane_of(t) == r && row_of(t) + r < held)
                    per_head[head * L + first + row_of(t) + r] = divergence[t].v[r];
        });
    }

    PYAD_DEVICE static void fill(Four& four, float value) {
        PYAD_UNROLL
        for (int r = 0; r < height; ++r) four.v[r] = value;
    }

    PYAD_DEVICE float exponential(float logit, float maximum) const {
        return exp2_of(mul(sub(logit, maximum), factor));
    }

    // Sixteen keys further.
    PYAD_DEVICE void step(Place& place) const {
        const int32_t w = static_cast<int32_t>(shape.w);
        place.x += lanes;
        if (w >= lanes) {
            if (place.x >= w) {
                place.x -= w;
                ++place.y;
            }
        } else {
            place.y += place.x / w;
            place.x %= w;
        }
    }

    // f(t, c) for every key lane + 16 c of those that are left, in this order.
    template <typename F>
    PYAD_DEVICE void each(const Block& block, int64_t left, const F& f) const {
        block.for_each_thread([&](int t) {
            PYAD_UNROLL
            for (int c = 0; c < width; ++c)
                if (lane_of(t) + c * lanes < left) f(t, c);
        });
    }

    // values = combined over the sixteen lanes, halves first.
    template <typename F>
    PYAD_DEVICE static void over_lanes(const Block& block, PerThread<Four, threads>& values,
                                       const F& f) {
        block.for_each_warp([&](const Warp& warp) {
            PYAD_UNROLL
            for (int mask = lanes / 2; mask > 0; mask /= 2)
                warp.exchange(values, mask, [&](const Four& a, const Four& b) {
                    Four both;
                    PYAD_UNROLL
                    for (int r = 0; r < height; ++r) both.v[r] = f(a.v[r], b.v[r]);
                    return both;
                });
        });
    }

    // out[row][x] = the Gaussian of the row along one axis, summing to 1.
    PYAD_DEVICE void axis(const Block& block, PerThread<Four, threads>& sum, const float* sigma,
                          int32_t held, int64_t first, bool vertical, float* out) const {
        const int32_t w = static_cast<int32_t>(shape.w);
        const int32_t n = vertical ? static_cast<int32_t>(shape.h) : w;
        block.for_each_thread([&](int t) {
            PYAD_UNROLL
            for (int r = 0; r < height; ++r) {
                const int32_t row = row_of(t) + r;
                const float own = row < held ? sigma[row] : 1.0f;
                const int32_t centre =
                    static_cast<int32_t>(vertical ? (first + row) / w : (first + row) % w);
                float total = 0.0f;
                for (int32_t x = lane_of(t); x < n; x += lanes) {
                    const float u = div(static_cast<float>(x - centre), own);
                    const float value = exp2_of(mul(mul(u, u), -0x1.715476p-1f));
                    out[row * n + x] = value;
                    total = add(total, value);
                }
                sum[t].v[r] = total;
            }
        });
        over_lanes(block, sum, [](float a, float b) { return add(a, b); });
        block.for_each_thread([&](int t) {
            PYAD_UNROLL
            for (int r = 0; r < height; ++r)
                for (int32_t x = lane_of(t); x < n; x += lanes)
                    out[(row_of(t) + r) * n + x] = div(out[(row_of(t) + r) * n + x], sum[t].v[r]);
        });
    }

    // dots = the block's rows times the next keys, over the dimensions in order. What is missing of
    // either counts as zeros.
    PYAD_DEVICE void multiply(const Block& block, Shared& shared, const float* q, int32_t held,
                              const float* k, int64_t left, PerThread<Tile, threads>& dots) const {
        const int32_t d = static_cast<int32_t>(shape.d);
        block.for_each_thread([&](int t) {
            PYAD_UNROLL
            for (int r = 0; r < height; ++r) PYAD_UNROLL
            for (int c = 0; c < width; ++c) dots[t].v[r][c] = 0.0f;
        });
        for (int32_t begin = 0; begin < d; begin += depth) {
            const int32_t dims = d - begin < depth ? d - begin : depth;
            block.for_each_thread([&](int t) {
                for (int i = t; i < rows * depth; i += threads) {
                    const int row = i / depth, at = i % depth;
                    shared.queries[at][row] =
                        row < held && at < dims ? q[row * shape.d + begin + at] : 0.0f;
                }
                for (int i = t; i < keys_held * depth; i += threads) {
                    const int row = i / depth, at = i % depth;
                    shared.keys[at][row] =
                        row < left && at < dims ? k[row * shape.d + begin + at] : 0.0f;
                }
            });
            block.for_each_thread([&](int t) {
                for (int32_t at = 0; at < dims; ++at) {
                    PYAD_UNROLL
                    for (int r = 0; r < height; ++r) PYAD_UNROLL
                    for (int c = 0; c < width; ++c)
                        dots[t].v[r][c] =
                            add(dots[t].v[r][c], mul(shared.queries[at][row_of(t) + r],
                                                     shared.keys[at][lane_of(t) + c * lanes]));
                }
            });
        }
    }
};

// The mean over the heads.
struct CorrelationMean {
    static constexpr int threads = 128;
    struct Shared {};

    const float* per_head;
    int64_t N, heads, L;
    float* divergence;

    PYAD_DEVICE void operator()(const Block& block, Shared&) const {
        block.for_each_thread([&](int t) {
            const int64_t at = block.x * threads + t;
            if (at >= N * L) return;
            const float* from = per_head + at / L * heads * L + at % L;
            float sum = 0.0f;
            for (int64_t m = 0; m < heads; ++m) sum = add(sum, from[m * L]);
            divergence[at] = div(sum, static_cast<float>(heads));
        });
    }
};

// Both programs of one call, and their grids.
struct CorrelationCall {
    CorrelationRows rows;
    CorrelationMean mean;

    CorrelationCall(const CorrelationShape& shape, const float* queries, const float* keys,
                    const float* sigma_x, const float* sigma_y, float scale, float* per_head,
                    float* divergence)
        : rows{queries, keys, sigma_x, sigma_y, shape, scale * 0x1.715476p+0f, per_head},
          mean{per_head, shape.N, shape.heads, shape.L(), divergence} {
        if (shape.h + shape.w > kCorrelationSides)
            throw std::invalid_argument(
                "[correlation_divergence] expected h + w of at most " +
                std::to_string(kCorrelationSides) + " on a CUDA device, got " +
                std::to_string(shape.h + shape.w) + ". Use the CPU form for such a grid.");
        if (blocks().x >= int64_t{1} << 31)
            throw std::invalid_argument(
                "[correlation_divergence] expected fewer than 2^31 blocks of 32 rows in one call. "
                "Pass fewer pictures at a time.");
    }
    Grid blocks() const { return {mean.N * mean.heads * CorrelationRows::blocks_of_rows(mean.L)}; }
    Grid means() const { return {(mean.N * mean.L + mean.threads - 1) / mean.threads}; }
};

}  // namespace pyad::cuda
