// preprocess as a block program.
#pragma once

#include <cstdint>
#include <stdexcept>

#include "block.h"
#include "pyad/cuda/banded.h"
#include "pyad/cuda/preprocess.h"

namespace pyad::cuda {

template <int n>
struct alignas(n) Bytes {
    unsigned char of[n];
};

// A tile of 4 x 32 output pixels, all channels. `packed`: the bytes of a source row lie side by
// side. A thread takes `bytes` neighbouring ones of each row, with one load where all rows start at
// multiples of that number (`words`); 8 pay where a tile is made of long pieces of rows.
template <int C, bool packed, int bytes>
struct PreprocessTile {
    static constexpr int threads = 128, loaded_bytes = bytes;
    static constexpr int resident = bytes == 8 ? 4 : 5;
    static constexpr int width = kWarp, height = 4;
    static constexpr int chunk = bytes * threads;  // values of a source row (W * C) held at a time
    static constexpr int outputs = height * width * C / threads;  // of a thread
    static constexpr int ahead = 4;                               // source rows read before use
    struct Shared {
        float sums[height][chunk];  // over source rows
    };

    Frames in;
    bool words;
    BandedView rows, columns;
    Normalization norm;
    int plane[3];  // output plane of each input channel
    float* out;
    int32_t tiles_x, tiles_y;

    PYAD_DEVICE void operator()(const Block& block, Shared& shared) const {
        const int32_t tiles = tiles_x * tiles_y;
        const int64_t n = block.x / tiles;
        const int32_t tile = static_cast<int32_t>(block.x % tiles);
        const int32_t y0 = tile / tiles_x * height, x0 = tile % tiles_x * width;
        const int32_t y1 = y0 + height < rows.rows ? y0 + height : rows.rows;
        const int32_t x1 = x0 + width < columns.rows ? x0 + width : columns.rows;
        const int32_t end = (columns.start[x1 - 1] + columns.count[x1 - 1]) * C;

        PerThread<float[outputs], threads> sums;
        block.for_each_thread([&](int t) {
            PYAD_UNROLL
            for (int k = 0; k < outputs; ++k) sums[t][k] = 0.0f;
        });
        for (int32_t begin = columns.start[x0] * C & ~(bytes - 1); begin < end; begin += chunk) {
            block.for_each_thread([&](int t) {
                const int32_t value = begin + bytes * t;
                if (value < end) sum_rows(n, y0, y1, value, bytes * t, shared);
            });
            block.for_each_thread([&](int t) {
                PYAD_UNROLL
                for (int k = 0; k < outputs; ++k) {
                    const Place at(t, k, y0, x0);
                    if (at.y < y1 && at.x < x1)
                        sums[t][k] = sum_columns(sums[t][k], at, begin, shared);
                }
            });
        }
        block.for_each_thread([&](int t) {
            PYAD_UNROLL
            for (int k = 0; k < outputs; ++k) {
                const Place at(t, k, y0, x0);
                if (at.y < y1 && at.x < x1) write(n, at, sums[t][k]);
            }
        });
    }

    // The k-th output of a thread: neighbouring threads take neighbouring columns.
    struct Place {
        int32_t row, channel, y, x;
        PYAD_DEVICE Place(int t, int k, int32_t y0, int32_t x0)
            : row((t + k * threads) / width / C),
              channel((t + k * threads) / width % C),
              y(y0 + row),
              x(x0 + (t + k * threads) % width) {}
    };

    // Values [value, value + bytes) of source row i of picture n; what lies beyond the row is 0.
    PYAD_DEVICE Bytes<bytes> load(int64_t n, int32_t i, int32_t value) const {
        const unsigned char* row = in.data + n * in.stride_n + i * in.stride_h;
        const int32_t left = static_cast<int32_t>(in.W) * C - value;
        if (packed && words && left >= bytes)
            return *reinterpret_cast<const Bytes<bytes>*>(row + value);  // one load
        Bytes<bytes> loaded = {};
        PYAD_UNROLL
        for (int e = 0; e < bytes; ++e)
            if (e < left) {
                const int32_t v = value + e;
                loaded.of[e] = packed ? row[v] : row[v / C * in.stride_w + v % C * in.stride_c];
            }
        return loaded;
    }

    // Sums of values [value, value + bytes) over the source rows of output rows [y0, y1).
    PYAD_DEVICE void sum_rows(int64_t n, int32_t y0, int32_t y1, int32_t value, int32_t at,
                              Shared& shared) const {
        float sums[height][bytes];
        int32_t start[height], count[height];
        PYAD_UNROLL
        for (int k = 0; k < height; ++k) {
            start[k] = y0 + k < y1 ? rows.start[y0 + k] : 0;
            count[k] = y0 + k < y1 ? rows.count[y0 + k] : 0;
            PYAD_UNROLL
            for (int e = 0; e < bytes; ++e) sums[k][e] = 0.0f;
        }
        const int32_t last = rows.start[y1 - 1] + rows.count[y1 - 1];
        for (int32_t first = start[0]; first < last; first += ahead) {
            Bytes<bytes> loaded[ahead];
            PYAD_UNROLL
            for (int a = 0; a < ahead; ++a)
                loaded[a] = first + a < last ? load(n, first + a, value) : Bytes<bytes>{};
            PYAD_UNROLL
            for (int a = 0; a < ahead; ++a) {
                PYAD_UNROLL
                for (int k = 0; k < height; ++k) {
                    const int32_t tap = first + a - start[k];
                    if (tap < 0 || tap >= count[k]) continue;
                    const float weight =
                        rows.weights[static_cast<int64_t>(y0 + k) * rows.taps + tap];
                    PYAD_UNROLL
                    for (int e = 0; e < bytes; ++e)
                        sums[k][e] =
                            add(sums[k][e], mul(weight, static_cast<float>(loaded[a].of[e])));
                }
            }
        }
        PYAD_UNROLL
        for (int k = 0; k < height; ++k) PYAD_UNROLL
        for (int e = 0; e < bytes; ++e) shared.sums[k][at + e] = sums[k][e];
    }

    // One output's sum, carried on over the values [begin, begin + chunk).
    PYAD_DEVICE float sum_columns(float sum, const Place& at, int32_t begin,
                                  const Shared& shared) const {
        const int32_t start = columns.start[at.x], count = columns.count[at.x];
        const float* weights = columns.weights + static_cast<int64_t>(at.x) * columns.taps;
        // Taps whose value (start + tap) * C + channel is held.
        const int32_t before = (begin - at.channel + C - 1) / C - start;
        const int32_t after = (begin + chunk - at.channel + C - 1) / C - start;
        const int32_t first = before > 0 ? before : 0, last = after < count ? after : count;
        for (int32_t tap = first; tap < last; ++tap)
            sum = add(sum, mul(weights[tap],
                               shared.sums[at.row][(start + tap) * C + at.channel - begin]));
        return sum;
    }

    PYAD_DEVICE void write(int64_t n, const Place& at, float sum) const {
        const int64_t size = static_cast<int64_t>(rows.rows) * columns.rows;
        float* picture = out + 3 * n * size + static_cast<int64_t>(at.y) * columns.rows + at.x;
        if (C == 1) {
            PYAD_UNROLL
            for (int c = 0; c < 3; ++c)
                picture[c * size] = add(mul(sum, norm.scale[c]), norm.offset[c]);
        } else {
            const int c = plane[at.channel];
            picture[c * size] = add(mul(sum, norm.scale[c]), norm.offset[c]);
        }
    }
};

// Calls run(program, grid) with the program that fits the pictures.
template <typename Run>
void with_preprocess_tile(Frames in, const BandedView& rows, const BandedView& columns,
                          const Normalization& norm, bool bgr, float* out, const Run& run) {
    if ((in.C != 1 && in.C != 3) || rows.columns != in.H || columns.columns != in.W)
        throw std::invalid_argument(
            "[preprocess] expected 1 or 3 channels and maps made for (H, W).");
    // A view with its channels reversed is the other colour order seen from the other end.
    if (in.C == 3 && in.stride_c == -1) {
        in.data -= 2;
        in.stride_c = 1;
        bgr = !bgr;
    }
    const bool packed = in.stride_w == in.C && (in.C == 1 || in.stride_c == 1);
    const uint64_t starts = reinterpret_cast<std::uintptr_t>(in.data) |
                            static_cast<uint64_t>(in.stride_n) | static_cast<uint64_t>(in.stride_h);
    const int64_t tiles_x = (columns.rows + int64_t{31}) / 32;
    const int64_t tiles_y = (rows.rows + int64_t{3}) / 4;
    if (in.W * in.C > INT32_MAX - 1024 || tiles_x * tiles_y > INT32_MAX ||
        in.N * tiles_x * tiles_y > INT32_MAX)
        throw std::invalid_argument(
            "[preprocess] expected rows of fewer than 2^31 - 1024 bytes and fewer than 2^31 tiles "
            "of 4 x 32 pixels in one call. Pass fewer pictures at a time.");
    const auto with = [&](auto program) {
        program.in = in;
        program.words = starts % program.loaded_bytes == 0;
        program.rows = rows;
        program.columns = columns;
        program.norm = norm;
        for (int c = 0; c < 3; ++c) program.plane[c] = bgr ? 2 - c : c;
        program.out = out;
        program.tiles_x = static_cast<int32_t>(tiles_x);
        program.tiles_y = static_cast<int32_t>(tiles_y);
        static_assert(program.width == 32 && program.height == 4, "as the tiles above");
        run(program, Grid{in.N * tiles_x * tiles_y});
    };
    // A tile's rows are about half its taps times 32 pixels long.
    const bool wide = packed && starts % 8 == 0 && columns.taps * 16 * in.C > 512;
    if (in.C == 1)
        wide     ? with(PreprocessTile<1, true, 8>{})
        : packed ? with(PreprocessTile<1, true, 4>{})
                 : with(PreprocessTile<1, false, 4>{});
    else
        wide     ? with(PreprocessTile<3, true, 8>{})
        : packed ? with(PreprocessTile<3, true, 4>{})
                 : with(PreprocessTile<3, false, 4>{});
}

}  // namespace pyad::cuda
