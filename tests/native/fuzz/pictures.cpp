// banded.h, preprocess.h and anomaly_map.h.
#include <algorithm>

#include "parts.h"
#include "pyad/anomaly_map.h"
#include "pyad/preprocess.h"
#include "target.h"

using fuzz::Bytes;
using fuzz::Exact;

namespace {

// The bytes that a view of any strides touches, and none beside them.
class View {
  public:
    View(Bytes& bytes, int64_t N, int64_t H, int64_t W, int64_t C) {
        const int64_t sides[4] = {N, H, W, C};
        int order[4] = {3, 2, 1, 0};  // innermost first
        if (bytes.one_in(4)) std::swap(order[bytes.below(4)], order[bytes.below(4)]);
        int64_t strides[4], step = 1, low = 0, high = 0;
        for (const int axis : order) {
            strides[axis] = step;
            step = step * sides[axis] + (bytes.one_in(8) ? bytes.below(5) : 0);
        }
        for (int axis = 0; axis < 4; ++axis) {
            if (bytes.one_in(8)) strides[axis] = -strides[axis];
            if (bytes.one_in(16)) strides[axis] = 0;
            const int64_t reach = strides[axis] * std::max<int64_t>(0, sides[axis] - 1);
            (reach < 0 ? low : high) += reach;
        }
        const bool empty = N * H * W * C == 0;
        values_ = std::make_unique<Exact<uint8_t>>(
            bytes.wholes<uint8_t>(empty ? 0 : high - low + 1, 0, 255));
        frames_ = {
            values_->data() - low, N, H, W, C, strides[0], strides[1], strides[2], strides[3]};
    }

    const pyad::Frames& frames() const { return frames_; }

  private:
    std::unique_ptr<Exact<uint8_t>> values_;
    pyad::Frames frames_;
};

}  // namespace

// The constructor checks everything itself.
PYAD_FUZZ(banded) {
    const int64_t columns = bytes.one_in(3) ? bytes.hostile() : bytes.size(1, 40);
    const int64_t rows = bytes.size(0, 40);
    const auto length = [&](int64_t n) { return bytes.one_in(16) ? bytes.below(60) : n; };
    const int64_t taps = bytes.below(5);
    std::vector<int32_t> start = bytes.wholes<int32_t>(length(rows), 0, 6, true).copy();
    if (bytes.below(4)) std::sort(start.begin(), start.end());
    std::vector<int32_t> count =
        bytes.wholes<int32_t>(length(rows), std::min<int64_t>(taps, 1), taps, true).copy();
    if (bytes.below(4)) std::fill(count.begin(), count.end(), static_cast<int32_t>(taps));
    const pyad::Banded map(columns, start, count, bytes.floats(length(rows * taps)).copy());
    fuzz::expect(map.rows == static_cast<int64_t>(map.start.size()) && map.rows > 0, "rows");
    for (int64_t i = 0; i < map.rows; ++i) {
        fuzz::expect(map.first(i) >= 0 && map.last(i + 1) > map.first(i), "a run's ends");
        fuzz::expect(map.last(i + 1) <= columns, "a run inside the columns");
        fuzz::expect(map.count[i] <= map.taps, "weights of a run");
    }
    fuzz::expect(static_cast<int64_t>(map.weights.size()) == map.rows * map.taps, "weights");
}

// csrc/bindings/register_preprocess.cpp checks `out`; the kernel checks channels and maps.
PYAD_FUZZ(preprocess) {
    const int64_t N = bytes.below(4), H = bytes.size(1, 70), W = bytes.size(1, 70);
    const int64_t C = bytes.one_in(16) ? bytes.below(6) : 1 + 2 * bytes.below(2);
    const View view(bytes, N, H, W, C);
    const auto side = [&](int64_t n) { return bytes.one_in(16) ? bytes.size(1, 70) : n; };
    const int64_t h = bytes.size(1, 70), w = bytes.size(1, 70);
    const int64_t taps = bytes.one_in(4) ? 70 : 4;
    const pyad::Banded rows = fuzz::banded(bytes, h, side(H), taps);
    const pyad::Banded columns = fuzz::banded(bytes, w, side(W), taps);
    pyad::Normalization normalization;
    for (int c = 0; c < 3; ++c) {
        normalization.scale[c] = bytes.number();
        normalization.offset[c] = bytes.number();
    }
    Exact<float> out(N * 3 * h * w, bytes.below(16));
    pyad::preprocess(view.frames(), rows, columns, normalization, bytes.one_in(2), out.data());
}

// csrc/bindings/register_anomaly_map.cpp checks that the arrays fit the maps; the kernel does not.
PYAD_FUZZ(anomaly_map) {
    const int64_t N = bytes.below(4), h = bytes.size(1, 20), w = bytes.size(1, 20);
    const int64_t H = bytes.size(1, 70), W = bytes.size(1, 70), taps = bytes.within(1, 20);
    const Exact<float> scores = bytes.floats(N * h * w);
    const pyad::Banded rows = fuzz::banded(bytes, H, h, taps);
    const pyad::Banded columns = fuzz::banded(bytes, W, w, taps);
    Exact<float> wide(N * h * W, bytes.below(16)), maps(N * H * W, bytes.below(16)), maxima(N);
    pyad::anomaly_map(scores.data(), N, rows, columns, wide.data(), maps.data(), maxima.data());
}
