// Pairs of feature maps for the tests of cosine_distance_map and of its CUDA form.
#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "axes.h"
#include "check.h"
#include "pyad/cosine_distance_map.h"

namespace check {

struct CosineLevel {
    int64_t C, h, w;
};
struct CosineCase {
    int64_t N;
    std::vector<CosineLevel> levels;  // of which pairs are made, two of the first
    int64_t H, W;
};
inline const CosineCase kCosineCases[] = {
    {1, {{1, 1, 1}}, 1, 1},
    {2, {{13, 7, 9}, {8, 5, 3}}, 61, 50},
    {3, {{7, 1, 6}, {9, 3, 1}, {17, 2, 2}}, 5, 48},
    {2, {{64, 16, 16}, {130, 8, 8}}, 64, 64},
    {1, {{3, 40, 41}}, 19, 23},
    {1, {{24, 4, 3}}, 1, 131},
};

// Owns what the pairs point to. a and b hold planes; lay_out() makes what the kernel reads.
struct Pairs {
    Pairs(const CosineCase& c, Random& random) : N(c.N), H(c.H), W(c.W) {
        for (const CosineLevel& l : c.levels) {
            axes.push_back(std::make_shared<pyad::Banded>(triangles(l.h, c.H, 2.0)));
            axes.push_back(std::make_shared<pyad::Banded>(triangles(l.w, c.W, 1.5)));
            levels.push_back({axes[axes.size() - 2].get(), axes.back().get()});
        }
        for (size_t k = 0; k <= c.levels.size(); ++k) {
            const size_t level = k % c.levels.size();
            const CosineLevel& l = c.levels[level];
            const int64_t stride = l.C * l.h * l.w;
            a.push_back(random.normals(c.N * stride));
            b.push_back(a.back());
            for (float& value : b.back()) value += random.uniform() + 0.25f;
            pairs.push_back({nullptr, nullptr, stride, stride, l.C, false,
                             0.5f + 0.25f * static_cast<float>(k), static_cast<int64_t>(level)});
        }
        lay_out(false);
    }
    Pairs(const Pairs& other)
        : N(other.N),
          H(other.H),
          W(other.W),
          axes(other.axes),
          levels(other.levels),
          a(other.a),
          b(other.b),
          pairs(other.pairs) {
        lay_out(false);
    }
    Pairs(Pairs&&) = default;

    int64_t locations(size_t k) const {
        const pyad::MapLevel& level = levels[pairs[k].level];
        return level.rows->columns * level.columns->columns;
    }
    void lay_out(bool channels_last) {
        laid_out.clear();
        for (size_t k = 0; k < pairs.size(); ++k) {
            pairs[k].channels_last = channels_last;
            pairs[k].a = laid(a[k], k, channels_last);
            pairs[k].b = laid(b[k], k, channels_last);
        }
    }

    int64_t N, H, W;
    std::vector<std::shared_ptr<pyad::Banded>> axes;
    std::vector<pyad::MapLevel> levels;
    std::vector<std::vector<float>> a, b, laid_out;
    std::vector<pyad::FeaturePair> pairs;

  private:
    const float* laid(const std::vector<float>& planes, size_t k, bool channels_last) {
        laid_out.push_back(planes);
        const int64_t C = pairs[k].C, n = locations(k);
        if (channels_last)
            for (int64_t picture = 0; picture < N; ++picture)
                for (int64_t c = 0; c < C; ++c)
                    for (int64_t i = 0; i < n; ++i)
                        laid_out.back()[(picture * n + i) * C + c] =
                            planes[(picture * C + c) * n + i];
        return laid_out.back().data();
    }
};

struct CosineMaps {
    std::vector<float> maps, maxima, means;
    bool operator==(const CosineMaps& other) const {
        const auto bits = [](float a, float b) { return std::memcmp(&a, &b, sizeof a) == 0; };
        const auto same = [&](const std::vector<float>& x, const std::vector<float>& y) {
            return x.size() == y.size() && std::equal(x.begin(), x.end(), y.begin(), bits);
        };
        return same(maps, other.maps) && same(maxima, other.maxima) && same(means, other.means);
    }
};

inline CosineMaps run_pairs(const Pairs& pairs) {
    Poisoned<float> maps(pairs.N * pairs.H * pairs.W), maxima(pairs.N), means(pairs.N);
    CHECK(!pyad::cosine_distance_map(pairs.pairs, pairs.levels, pairs.N, maps.data(), maxima.data(),
                                     means.data()));
    CHECK_EQ(maps.untouched() + maxima.untouched() + means.untouched(), 0);
    return {
        {maps.begin(), maps.end()}, {maxima.begin(), maxima.end()}, {means.begin(), means.end()}};
}

}  // namespace check
