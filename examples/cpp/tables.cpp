#include "tables.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "error.h"

namespace pyad::example {
namespace {

using Rows = std::vector<std::vector<double>>;

// NumPy's order of a sum, so that tables have the bits that Python's have.
double numpy_sum(const double* x, int64_t n) {
    if (n < 8) {
        double sum = 0.0;
        for (int64_t i = 0; i < n; ++i) sum += x[i];
        return sum;
    }
    if (n > 128) {
        const int64_t half = n / 2 - n / 2 % 8;
        return numpy_sum(x, half) + numpy_sum(x + half, n - half);
    }
    double r[8];
    for (int k = 0; k < 8; ++k) r[k] = x[k];
    int64_t i = 8;
    for (; i + 8 <= n; i += 8)
        for (int k = 0; k < 8; ++k) r[k] += x[i + k];
    double sum = ((r[0] + r[1]) + (r[2] + r[3])) + ((r[4] + r[5]) + (r[6] + r[7]));
    for (; i < n; ++i) sum += x[i];
    return sum;
}

// Zero weights at both ends of a run are dropped.
Banded banded(int64_t size, const std::vector<int64_t>& first, const Rows& weights) {
    std::vector<int32_t> start, count;
    int64_t taps = 0;
    for (size_t i = 0; i < first.size(); ++i) {
        const auto& row = weights[i];
        int64_t low = 0, high = static_cast<int64_t>(row.size());
        while (low < high && row[low] == 0.0) ++low;
        while (high > low && row[high - 1] == 0.0) --high;
        start.push_back(static_cast<int32_t>(first[i] + low));
        count.push_back(static_cast<int32_t>(high - low));
        taps = std::max(taps, high - low);
    }
    std::vector<float> kept(first.size() * taps, 0.0f);
    for (size_t i = 0; i < first.size(); ++i)
        for (int64_t t = 0; t < count[i]; ++t)
            kept[i * taps + t] = static_cast<float>(weights[i][start[i] - first[i] + t]);
    return Banded(size, start, count, kept);
}

// Antialiased bilinear resize: outputs [begin, end) of new_size.
Banded resize(int64_t size, int64_t new_size, int64_t begin, int64_t end) {
    const double scale = static_cast<double>(size) / static_cast<double>(new_size);
    const double width = std::max(1.0, scale);
    std::vector<int64_t> first, last;
    int64_t taps = 0;
    for (int64_t i = begin; i < end; ++i) {
        const double centre = scale * (static_cast<double>(i) + 0.5);
        first.push_back(std::max<int64_t>(static_cast<int64_t>(centre - width + 0.5), 0));
        last.push_back(std::min<int64_t>(static_cast<int64_t>(centre + width + 0.5), size));
        taps = std::max(taps, last.back() - first.back());
    }
    Rows weights;
    for (int64_t i = begin; i < end; ++i) {
        const double centre = scale * (static_cast<double>(i) + 0.5);
        std::vector<double> row(taps, 0.0);
        for (int64_t t = 0; first[i - begin] + t < last[i - begin]; ++t) {
            const double input = static_cast<double>(first[i - begin] + t);
            row[t] = std::max(1.0 - std::fabs(input + 0.5 - centre) / width, 0.0);
        }
        const double sum = numpy_sum(row.data(), taps);
        for (double& weight : row) weight /= sum;
        weights.push_back(row);
    }
    return banded(size, first, weights);
}

struct Bilinear {
    std::vector<int64_t> first;
    Rows weights;
};

Bilinear bilinear(int64_t size, int64_t new_size) {
    Bilinear found;
    const double ratio = static_cast<double>(size) / static_cast<double>(new_size);
    for (int64_t i = 0; i < new_size; ++i) {
        const double centre = std::max((static_cast<double>(i) + 0.5) * ratio - 0.5, 0.0);
        const int64_t first = std::min(static_cast<int64_t>(centre), size - 1);
        const double fraction = first == size - 1 ? 0.0 : centre - static_cast<double>(first);
        found.first.push_back(first);
        found.weights.push_back({1.0 - fraction, fraction});
    }
    return found;
}

// Python's round(): halves go to the even number.
int64_t half(int64_t n) { return n / 2 + (n % 2 && (n / 2) % 2 ? 1 : 0); }

int64_t up(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

Axes preprocessing_axes(const Engine& engine, int64_t H, int64_t W) {
    int64_t h = engine.resize[0], w = engine.resize.back();
    if (engine.resize.size() == 1) {  // the shorter side; the longer one is truncated
        const auto longer = [&](int64_t a, int64_t b) {
            return static_cast<int64_t>(static_cast<double>(engine.resize[0] * a) /
                                        static_cast<double>(b));
        };
        if (W <= H)
            h = longer(H, W);
        else
            w = longer(W, H);
    }
    int64_t top = 0, left = 0, ch = h, cw = w;
    if (engine.crop) {
        ch = (*engine.crop)[0], cw = (*engine.crop)[1];
        top = half(h - ch), left = half(w - cw);
    }
    if (ch > h || cw > w || std::max(ch, cw) > 16384)
        throw Error(Code::data,
                    "[preprocess] expected a picture that the engine's resize and crop "
                    "fit, got " +
                        std::to_string(W) + " x " + std::to_string(H) + ".");
    return {resize(H, h, top, top + ch), resize(W, w, left, left + cw)};
}

Normalization normalization(const Engine& engine) {
    Normalization found;
    for (int c = 0; c < 3; ++c) {
        found.scale[c] = static_cast<float>(1.0 / (255.0 * engine.std[c]));
        const double offset = -engine.mean[c] / engine.std[c];
        found.offset[c] = std::fabs(offset) < 1.17549435e-38 ? 0.0f : static_cast<float>(offset);
    }
    return found;
}

Banded bilinear_upsample(int64_t size, int64_t new_size) {
    const Bilinear found = bilinear(size, new_size);
    return banded(size, found.first, found.weights);
}

Banded upsample_and_smooth(int64_t size, int64_t new_size, double sigma) {
    const Bilinear from = bilinear(size, new_size);
    if (sigma == 0.0) return banded(size, from.first, from.weights);
    const auto radius = static_cast<int64_t>(4.0 * sigma + 0.5);
    std::vector<double> gaussian;
    for (int64_t o = -radius; o <= radius; ++o) {
        const double x = static_cast<double>(o) / sigma;
        gaussian.push_back(std::exp(-0.5 * (x * x)));
    }
    const double sum = numpy_sum(gaussian.data(), static_cast<int64_t>(gaussian.size()));
    for (double& weight : gaussian) weight /= sum;
    std::vector<int64_t> begin;
    Rows weights;
    for (int64_t i = 0; i < new_size; ++i) {
        std::vector<double> row(size + 1, 0.0);
        for (int64_t o = -radius; o <= radius; ++o) {
            const int64_t period = 2 * new_size;  // mirrored about the edge of the border sample
            const int64_t at = ((i + o) % period + period) % period;
            const int64_t source = std::min(at, period - 1 - at);
            const double weight = gaussian[o + radius];
            row[from.first[source]] += weight * from.weights[source][0];
            row[from.first[source] + 1] += weight * from.weights[source][1];
        }
        begin.push_back(0);
        weights.push_back(row);
    }
    return banded(size, begin, weights);
}

AggregationPlan aggregation_plan(const Engine& engine, const std::vector<int64_t>& channels) {
    const auto levels = static_cast<int64_t>(channels.size());
    std::vector<AggregationLevel> made;
    int64_t before = 0, dims = engine.target_dim;
    for (int64_t l = 0; l < levels; ++l) {
        AggregationLevel level{channels[l], {}, {}, {}, {}};
        const auto add = [&](int64_t d, int64_t flat, double weight) {
            level.dim.push_back(static_cast<int32_t>(d));
            level.channel.push_back(static_cast<int32_t>(flat / 9));
            level.position.push_back(static_cast<int32_t>(flat % 9));
            level.weight.push_back(static_cast<float>(weight));
        };
        if (engine.aggregation == Aggregation::average) {
            for (int64_t c = 0; c < channels[l]; ++c)
                for (int64_t p = 0; p < 9; ++p) add(before + c, 9 * c + p, 1.0 / 9.0);
            before += channels[l];
            dims = before;
        } else if (engine.aggregation == Aggregation::sum) {  // each channel's centre
            if (channels[l] != channels[0])
                throw Error(Code::engine,
                            "[patch_aggregation] levels of " + std::to_string(channels[0]) +
                                " and " + std::to_string(channels[l]) +
                                " channels cannot be added. Export the engine again.");
            for (int64_t c = 0; c < channels[l]; ++c) add(c, 9 * c + 4, 1.0);
            dims = channels[0];
        } else {  // both adaptive pools composed, as in _official_level of ops/patch_aggregation.py
            const int64_t pre = engine.pre_dim, target = engine.target_dim;
            const int64_t stacked = levels * pre, window = channels[l] * 9;
            for (int64_t d = l * target / levels; d < up((l + 1) * target, levels); ++d) {
                const int64_t first = d * stacked / target, last = up((d + 1) * stacked, target);
                const int64_t begin = std::max<int64_t>(first - l * pre, 0);
                const int64_t end = std::min(last - l * pre, pre);
                if (begin >= end) continue;
                const int64_t lowest = begin * window / pre;
                std::vector<double> weight(up(end * window, pre) - lowest, 0.0);
                for (int64_t p = begin; p < end; ++p) {
                    const int64_t a = p * window / pre, b = up((p + 1) * window, pre);
                    for (int64_t j = a; j < b; ++j)
                        weight[j - lowest] += 1.0 / static_cast<double>((last - first) * (b - a));
                }
                for (size_t j = 0; j < weight.size(); ++j)
                    add(d, lowest + static_cast<int64_t>(j), weight[j]);
            }
        }
        made.push_back(std::move(level));
    }
    if (dims != engine.dims())
        throw Error(Code::engine, "[patch_aggregation] the network's features have " +
                                      std::to_string(dims) + " dimensions, the bank's rows " +
                                      std::to_string(engine.dims()) + ". Export the engine again.");
    return AggregationPlan(dims, std::move(made));
}

double threshold(const Engine& engine) {
    const Tensor& tensor = engine.tensors.at("calibration/scores");
    const int64_t n = tensor.shape[0];
    const std::vector<double> scores(tensor.as<float>(), tensor.as<float>() + n);  // ascending
    const double rate = engine.false_reject;
    // The rate was typed in decimal: 0.29 * 100 is 28.999999999999996 in binary.
    const auto rank = static_cast<int64_t>(std::floor(rate * static_cast<double>(n + 1) + 1e-9));
    if (rank >= 1) return scores[n - rank];
    const int64_t tail = std::min(n - 1, std::max<int64_t>(5, n / 4));
    const double u = scores[n - tail - 1];
    std::vector<double> excess;
    for (int64_t i = n - tail; i < n; ++i) excess.push_back(scores[i] - u);
    const double mean = numpy_sum(excess.data(), tail) / static_cast<double>(tail);
    const double share = static_cast<double>(tail + 1) / static_cast<double>(n + 1);
    return std::max(u + mean * std::log(share / rate), scores.back());
}

}  // namespace pyad::example
