// pyad/preprocess.h: any strides, every level, against float64.
#include "pyad/preprocess.h"

#include <thread>

#include "axes.h"
#include "check.h"
#include "digest.h"
#include "levels.h"

namespace {

struct Case {
    int64_t N, H, W, C, h, w;
};
const Case kCases[] = {{2, 37, 53, 3, 19, 31}, {1, 37, 53, 1, 37, 53}, {2, 20, 31, 3, 64, 47},
                       {1, 1, 1, 3, 3, 5},     {1, 5, 7, 1, 1, 1},     {1, 97, 11, 3, 8, 40},
                       {3, 16, 16, 3, 16, 16}, {1, 33, 250, 3, 32, 7}, {2, 9, 8, 1, 30, 3},
                       {0, 8, 8, 3, 4, 4}};
const pyad::Normalization kNorm{{0.0175f, 0.0171f, 0.0178f}, {-2.1f, -2.0f, -1.8f}};

// How the bytes of a batch lie in memory. `data` is owned by `bytes`, which holds exactly what the
// strides reach.
struct Picture {
    std::vector<uint8_t> bytes;
    pyad::Frames frames;
};

enum class Layout { packed, planar, flipped, reversed_channels, gaps };

Picture lay_out(const Case& c, const std::vector<uint8_t>& values, Layout layout) {
    Picture out;
    int64_t n = c.H * c.W * c.C, h = c.W * c.C, w = c.C, k = 1;
    int64_t size = c.N * n, at = 0;
    switch (layout) {
        case Layout::planar:
            h = c.W, w = 1, k = c.H * c.W;
            break;
        case Layout::flipped:
            at = size - c.C, n = -n, h = -h, w = -w;
            break;
        case Layout::reversed_channels:
            at = c.C - 1, k = -1;
            break;
        case Layout::gaps:
            w = 2 * c.C + 1, h = c.W * w + 3, n = c.H * h, size = c.N * n;
            break;
        default:
            break;
    }
    out.bytes.assign(static_cast<size_t>(std::max<int64_t>(size, 1)), 0xEE);
    out.frames = {out.bytes.data() + (c.N ? at : 0), c.N, c.H, c.W, c.C, n, h, w, k};
    int64_t i = 0;
    for (int64_t a = 0; a < c.N; ++a)
        for (int64_t y = 0; y < c.H; ++y)
            for (int64_t x = 0; x < c.W; ++x)
                for (int64_t b = 0; b < c.C; ++b)
                    out.bytes[at + a * n + y * h + x * w + b * k] = values[i++];
    return out;
}

std::vector<uint8_t> bytes_of(const Case& c, check::Random& random) {
    std::vector<uint8_t> values(static_cast<size_t>(c.N * c.H * c.W * c.C));
    for (uint8_t& value : values) value = static_cast<uint8_t>(random.below(256));
    return values;
}

std::vector<float> run(const Case& c, const pyad::Frames& frames, bool bgr) {
    check::Poisoned<float> out(c.N * 3 * c.h * c.w);
    pyad::preprocess(frames, check::triangles(c.H, c.h), check::triangles(c.W, c.w), kNorm, bgr,
                     out.data());
    CHECK_EQ(out.untouched(), 0);
    return {out.begin(), out.end()};
}

}  // namespace

PYAD_TEST(pictures_are_those_of_float64_and_the_same_at_every_level_and_layout) {
    check::Random random(1);
    for (const Case& c : kCases)
        for (const bool bgr : {false, true}) {
            const std::vector<uint8_t> values = bytes_of(c, random);
            const pyad::Banded rows = check::triangles(c.H, c.h);
            const pyad::Banded columns = check::triangles(c.W, c.w);
            const std::vector<float> first = run(c, lay_out(c, values, Layout::packed).frames, bgr);
            for (int64_t n = 0; n < c.N; ++n)
                for (int64_t p = 0; p < 3; ++p)
                    for (int64_t y = 0; y < c.h; ++y)
                        for (int64_t x = 0; x < c.w; ++x) {
                            const int64_t channel = c.C == 1 ? 0 : bgr ? 2 - p : p;
                            const double sum = check::apply(rows, y, [&](int64_t i) {
                                return check::apply(columns, x, [&](int64_t j) {
                                    return values[((n * c.H + i) * c.W + j) * c.C + channel];
                                });
                            });
                            CHECK_NEAR(first[((n * 3 + p) * c.h + y) * c.w + x],
                                       sum * kNorm.scale[p] + kNorm.offset[p], 1e-5);
                        }
            for (const Layout layout : {Layout::packed, Layout::planar, Layout::flipped,
                                        Layout::reversed_channels, Layout::gaps}) {
                const Picture picture = lay_out(c, values, layout);
                check::at_each_level([&](pyad::Level) {
                    for (const int threads : {1, 3}) {
                        const check::Threads limit(threads);
                        const std::vector<float> again = run(c, picture.frames, bgr);
                        CHECK_SAME_BITS(again.data(), first.data(), first.size());
                    }
                });
            }
        }
}

PYAD_TEST(maps_made_for_other_sizes_are_refused) {
    const std::vector<uint8_t> bytes(4 * 4 * 4);
    const pyad::Banded map = check::triangles(4, 2), other = check::triangles(5, 2);
    std::vector<float> out(3 * 2 * 2);
    pyad::Frames frames{bytes.data(), 1, 4, 4, 3, 48, 12, 3, 1};
    CHECK_THROWS(pyad::preprocess(frames, other, map, kNorm, false, out.data()), "(H, W)");
    CHECK_THROWS(pyad::preprocess(frames, map, other, kNorm, false, out.data()), "(H, W)");
    frames.C = 4;
    CHECK_THROWS(pyad::preprocess(frames, map, map, kNorm, false, out.data()), "1 or 3 channels");
}

PYAD_TEST(several_threads_preprocess_at_once) {
    check::Random random(2);
    const check::Threads limit(2);
    std::vector<std::thread> callers;
    for (int caller = 0; caller < 4; ++caller) {
        const Case c{2, 30 + caller, 41, caller % 2 ? 1 : 3, 16, 20 + caller};
        callers.emplace_back([c, values = bytes_of(c, random)] {
            const Picture picture = lay_out(c, values, Layout::gaps);
            const std::vector<float> first = run(c, picture.frames, false);
            for (int round = 0; round < 5; ++round) {
                const std::vector<float> again = run(c, picture.frames, false);
                CHECK_SAME_BITS(again.data(), first.data(), first.size());
            }
        });
    }
    for (std::thread& caller : callers) caller.join();
}

PYAD_TEST(the_same_pictures_on_every_architecture) {
    check::at_each_level([](pyad::Level) {
        check::Random random(3);
        check::Digest digest;
        for (const Case& c : kCases) {
            const Picture picture = lay_out(c, bytes_of(c, random), Layout::packed);
            const std::vector<float> out = run(c, picture.frames, true);
            digest.add(out.data(), static_cast<int64_t>(out.size()));
        }
        CHECK_EQ(digest.value(), 3966369166u);
    });
}
