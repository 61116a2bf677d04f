#include "parts.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace fuzz {
namespace {

// One level's entries for dims [first, last), sorted as the plan wants them.
pyad::AggregationLevel entries(Bytes& bytes, int64_t first, int64_t last) {
    pyad::AggregationLevel level{bytes.size(1, 20), {}, {}, {}, {}};
    for (int64_t d = first; d < last; ++d) {
        int64_t key = bytes.below(9 * level.channels);
        for (int64_t i = bytes.below(12); i >= 0 && key < 9 * level.channels; --i) {
            level.dim.push_back(static_cast<int32_t>(d));
            level.channel.push_back(static_cast<int32_t>(key / 9));
            level.position.push_back(static_cast<int32_t>(key % 9));
            level.weight.push_back(bytes.number());
            key += 1 + (bytes.one_in(3) ? bytes.below(30) : 0);
        }
    }
    return level;
}

void spoil(Bytes& bytes, pyad::AggregationLevel& level) {
    std::vector<int32_t>* const lists[] = {&level.dim, &level.channel, &level.position};
    std::vector<int32_t>& list = *lists[bytes.below(3)];
    switch (bytes.below(4)) {
        case 0:
            level.channels = bytes.hostile();
            break;
        case 1:
            level.weight.resize(static_cast<size_t>(bytes.below(9)));
            break;
        case 2:
            list.resize(static_cast<size_t>(bytes.below(9)));
            break;
        default:
            if (!list.empty())
                list[bytes.below(static_cast<int64_t>(list.size()))] =
                    static_cast<int32_t>(bytes.hostile());
    }
}

// (D, r) with orthonormal columns, or something else.
std::vector<float> basis(Bytes& bytes, int64_t D, int64_t r) {
    std::vector<double> axis(static_cast<size_t>(D));
    double length = 0.0;
    for (double& x : axis) {
        x = static_cast<double>(bytes.within(-100, 100));
        length += x * x;
    }
    std::vector<float> out;
    for (int64_t d = 0; d < D; ++d)
        for (int64_t j = 0; j < r; ++j)  // of a mirror image of the unit vectors
            out.push_back(static_cast<float>(
                (d == j) - (length > 0.0 ? 2.0 * axis[d] * axis[j % D] / length : 0.0)));
    if (bytes.one_in(16)) out[bytes.below(D * r)] = bytes.number();
    return out;
}

}  // namespace

pyad::Banded banded(Bytes& bytes, int64_t rows, int64_t columns, int64_t taps) {
    if (rows <= columns && bytes.one_in(6)) {  // a crop: values are copied
        std::vector<int32_t> start;
        const int64_t first = bytes.within(0, columns - rows);
        for (int64_t i = 0; i < rows; ++i) start.push_back(static_cast<int32_t>(first + i));
        return pyad::Banded(columns, start, std::vector<int32_t>(start.size(), 1),
                            std::vector<float>(start.size(), 1.0f));
    }
    std::vector<int32_t> start, count;
    int64_t first = 0, last = 1;
    const int64_t step = 1 + 2 * columns / rows;
    for (int64_t i = 0; i < rows; ++i) {
        first = std::min(columns - 1, first + (i ? bytes.below(step) : 0));
        last = std::max(last, first + 1);
        last = std::min(columns, last + bytes.below(taps));
        first = std::max(first, last - taps);
        start.push_back(static_cast<int32_t>(first));
        count.push_back(static_cast<int32_t>(last - first));
    }
    const int64_t width = *std::max_element(count.begin(), count.end()) + bytes.one_in(8);
    return pyad::Banded(columns, start, count, bytes.floats(rows * width).copy());
}

pyad::AggregationPlan aggregation_plan(Bytes& bytes) {
    int64_t dims = bytes.size(1, 70);
    std::vector<pyad::AggregationLevel> levels;
    const int64_t count = bytes.within(1, 3);
    for (int64_t l = 0, from = 0; l < count; ++l) {
        int64_t first = from, last = l + 1 == count ? dims : bytes.within(from, dims);
        if (bytes.one_in(3)) first = bytes.within(0, from);  // levels that are added
        if (bytes.one_in(3)) last = dims;
        from = last;
        if (first < last) levels.push_back(entries(bytes, first, last));
    }
    if (bytes.one_in(8)) {
        if (bytes.one_in(4)) dims = bytes.hostile();
        if (bytes.one_in(8)) levels.clear();
        if (!levels.empty()) spoil(bytes, levels[bytes.below(static_cast<int64_t>(levels.size()))]);
    }
    return pyad::AggregationPlan(dims, std::move(levels));
}

Features::Features(Bytes& bytes, const pyad::AggregationPlan& plan, int64_t N, int64_t h, int64_t w)
    : N_(N) {
    require(!plan.levels.empty(), "a level");
    const bool finite = !bytes.one_in(4);
    for (size_t l = 0; l < plan.levels.size(); ++l) {
        pyad::FeatureMap map{nullptr, h, w, nullptr, nullptr};
        if (l > 0 && bytes.below(4)) {
            map.h = bytes.size(1, 16);
            map.w = bytes.size(1, 16);
            for (const pyad::Banded** axis : {&map.rows, &map.columns}) {
                const bool rows = axis == &map.rows;
                axes_.push_back(std::make_unique<pyad::Banded>(
                    banded(bytes, rows ? h : w, rows ? map.h : map.w, rows ? 2 : 3)));
                *axis = axes_.back().get();
            }
            require(map.rows->taps <= 2, "bilinear rows");
        }
        const int64_t channels = plan.levels[l].entries.channels;
        require(channels <= 1000, "channels that a feature map has");
        values_.push_back(bytes.floats(N * channels * map.h * map.w, finite));
        map.data = values_.back().data();
        if (bytes.one_in(4)) {  // channels last, in bfloat16
            const int64_t count = N * channels * map.h * map.w;
            halves_.emplace_back(count, bytes.below(4));
            for (int64_t i = 0; i < count; ++i) {
                uint32_t bits;
                std::memcpy(&bits, map.data + i, sizeof(bits));
                halves_.back()[i] = static_cast<uint16_t>(bits >> 16);
            }
            map.bfloat16 = halves_.back().data();
            map.data = nullptr;
        }
        maps_.push_back(map);
    }
}

std::unique_ptr<pyad::MemoryBank> memory_bank(Bytes& bytes, int64_t M, int64_t D) {
    constexpr pyad::Screen screens[] = {pyad::Screen::automatic, pyad::Screen::float32,
                                        pyad::Screen::bfloat16, pyad::Screen::int8};
    const Exact<float> rows = bytes.floats(M * D, true);
    pyad::SearchOptions options;
    if (bytes.one_in(2)) options.screen = screens[bytes.below(4)];
    std::vector<float> columns;
    if (bytes.one_in(4)) {
        options.basis_dim = bytes.size(1, std::min<int64_t>(D, 40));
        columns = basis(bytes, D, options.basis_dim);
        options.basis = columns.data();
    }
    return std::make_unique<pyad::MemoryBank>(rows.data(), M, D, options);
}

std::optional<Exact<uint8_t>> mask(Bytes& bytes, int64_t n) {
    if (bytes.below(2)) return std::nullopt;
    return bytes.wholes<uint8_t>(n, 0, bytes.below(3));
}

}  // namespace fuzz
