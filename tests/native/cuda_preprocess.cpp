// csrc/cuda/preprocess.cuh on the host: the bits of the CPU kernel, for any strides.
#include "axes.h"
#include "check.h"
#include "cuda_tables.h"
#include "preprocess.cuh"

namespace {

struct Case {
    int64_t N, H, W, C, h, w;
};
const Case kCases[] = {
    {2, 37, 53, 3, 19, 31},  {1, 37, 53, 1, 37, 53},
    {2, 20, 31, 3, 64, 47},  {1, 1, 1, 3, 3, 5},
    {1, 5, 7, 1, 1, 1},      {1, 97, 11, 3, 8, 40},
    {3, 16, 16, 3, 16, 16},  {2, 9, 8, 1, 30, 3},
    {1, 9, 1200, 3, 4, 70},  // more values than a chunk holds
    {2, 64, 2100, 1, 3, 40}, {1, 600, 8, 3, 2, 2},
    {0, 8, 8, 3, 4, 4},      {1, 24, 1600, 3, 4, 50},
    {2, 16, 3208, 1, 2, 33},  // rows at multiples of eight: wide loads
};
const pyad::Normalization kNorm{{0.0175f, 0.0171f, 0.0178f}, {-2.1f, -2.0f, -1.8f}};

enum class Layout { packed, flipped, mirrored, reversed_channels, planar, gaps, odd_rows };

// A batch behind strides; `bytes` reaches exactly as far as they do.
struct Picture {
    Picture(const Case& c, Layout layout, check::Random& random) {
        int64_t n = c.H * c.W * c.C, h = c.W * c.C, w = c.C, k = 1, at = 0;
        if (layout == Layout::planar) h = c.W, w = 1, k = c.H * c.W;
        if (layout == Layout::gaps) w = 2 * c.C, h = c.W * w + 5, n = c.H * h;
        if (layout == Layout::odd_rows) h = c.W * c.C + 1, n = c.H * h;
        if (layout == Layout::flipped) at = (c.H - 1) * h, h = -h;
        if (layout == Layout::mirrored) at = (c.W - 1) * w, w = -w;
        if (layout == Layout::reversed_channels) at = c.C - 1, k = -1;
        const auto reach = [](int64_t count, int64_t stride) {
            return stride > 0 && count > 0 ? (count - 1) * stride : 0;
        };
        const int64_t size = at + reach(c.N, n) + reach(c.H, h) + reach(c.W, w) + reach(c.C, k) + 1;
        bytes.resize(static_cast<size_t>(size));
        for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random.below(256));
        frames = {bytes.data() + at, c.N, c.H, c.W, c.C, n, h, w, k};
    }
    std::vector<uint8_t> bytes;
    pyad::Frames frames;
};

void run(const pyad::Frames& frames, const pyad::Banded& rows, const pyad::Banded& columns,
         bool bgr, float* out, bool descending) {
    const check::HostTables row_tables(rows), column_tables(columns);
    pyad::cuda::with_preprocess_tile(frames, row_tables.view(), column_tables.view(), kNorm, bgr,
                                     out, [&](const auto& program, const pyad::cuda::Grid& grid) {
                                         pyad::cuda::run_on_host(program, grid, descending);
                                     });
}

}  // namespace

PYAD_TEST(pictures_have_the_bits_of_the_cpu_kernel) {
    check::Random random(21);
    for (const Case& c : kCases)
        for (const Layout layout :
             {Layout::packed, Layout::flipped, Layout::mirrored, Layout::reversed_channels,
              Layout::planar, Layout::gaps, Layout::odd_rows})
            for (const bool bgr : {false, true}) {
                const Picture picture(c, layout, random);
                const pyad::Banded rows = check::triangles(c.H, c.h);
                const pyad::Banded columns = check::triangles(c.W, c.w);
                std::vector<float> expected(static_cast<size_t>(c.N * 3 * c.h * c.w));
                pyad::preprocess(picture.frames, rows, columns, kNorm, bgr, expected.data());
                for (const bool descending : {false, true}) {
                    check::Poisoned<float> out(c.N * 3 * c.h * c.w);
                    run(picture.frames, rows, columns, bgr, out.data(), descending);
                    CHECK_SAME_BITS(out.data(), expected.data(), expected.size());
                }
            }
}

PYAD_TEST(a_crop_has_the_bits_of_the_whole) {
    check::Random random(22);
    const Case c{1, 61, 83, 3, 45, 50};
    const Picture picture(c, Layout::packed, random);
    const pyad::Banded rows = check::triangles(c.H, c.h), columns = check::triangles(c.W, c.w);
    const int64_t left = 11, width = 21;  // the crop's first source column is not the picture's
    const auto part = [&](const auto& all, int64_t each) {
        return std::vector(all.begin() + left * each, all.begin() + (left + width) * each);
    };
    const pyad::Banded crop(c.W, part(columns.start, 1), part(columns.count, 1),
                            part(columns.weights, columns.taps));
    std::vector<float> whole(static_cast<size_t>(3 * c.h * c.w));
    pyad::preprocess(picture.frames, rows, columns, kNorm, false, whole.data());
    check::Poisoned<float> out(3 * c.h * width);
    run(picture.frames, rows, crop, false, out.data(), false);
    for (int64_t row = 0; row < 3 * c.h; ++row)
        CHECK_SAME_BITS(out.data() + row * width, whole.data() + row * c.w + left, width);
}

PYAD_TEST(pictures_that_do_not_fit_are_refused) {
    const std::vector<uint8_t> bytes(48);
    const pyad::Banded map = check::triangles(4, 2), other = check::triangles(5, 2);
    std::vector<float> out(12);
    pyad::Frames frames{bytes.data(), 1, 4, 4, 3, 48, 12, 3, 1};
    CHECK_THROWS(run(frames, other, map, false, out.data(), false), "(H, W)");
    CHECK_THROWS(run(frames, map, other, false, out.data(), false), "(H, W)");
    frames.C = 2;
    CHECK_THROWS(run(frames, map, map, false, out.data(), false), "1 or 3 channels");
    frames.C = 3;
    frames.N = int64_t{1} << 31;
    CHECK_THROWS(run(frames, map, map, false, out.data(), false), "fewer pictures at a time");
}
