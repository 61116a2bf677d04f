#include "pyad/correlation_divergence.h"

#include <algorithm>
#include <vector>

#include "correlation.h"
#include "pyad/parallel.h"

namespace pyad {
namespace {

constexpr int64_t kLine = 16;  // floats of a cache line

CorrelationKeys keys_of(const CorrelationShape& shape, float scale) {
    return {nullptr, shape.h, shape.w, shape.d, scale * 0x1.715476p+0f};  // log2(e)
}

float* aligned(float* p) {
    constexpr uintptr_t bytes = kLine * sizeof(float);
    return reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(p) + bytes - 1) / bytes * bytes);
}

// Keys (L, d) from key 32 p on to panel p (d, 32).
void pack_panel(const float* keys, int64_t L, int64_t d, int64_t p, float* panel) {
    const int64_t first = p * kKeyPanel, held = std::min(kKeyPanel, L - first);
    for (int64_t k = 0; k < d; ++k)
        for (int64_t j = 0; j < kKeyPanel; ++j)
            panel[k * kKeyPanel + j] = j < held ? keys[(first + j) * d + k] : 0.0f;
}

}  // namespace

int64_t correlation_scratch(const CorrelationShape& shape) {
    const int64_t sets = (shape.shared_keys ? 1 : shape.N) * shape.heads;
    return sets * keys_of(shape, 1.0f).padded() * shape.d + kLine;
}

void correlation_divergence(const CorrelationShape& shape, const float* queries, const float* keys,
                            const float* sigma_x, const float* sigma_y, float scale, float* scratch,
                            float* per_head, float* divergence) {
    const CorrelationKernels& kernels = correlation_kernels();
    const CorrelationKeys all = keys_of(shape, scale);
    const int64_t L = shape.L(), d = shape.d, heads = shape.heads;
    const int64_t panels = all.panel_count(), set = all.padded() * d;  // floats of one head's keys
    float* packed = aligned(scratch);
    const int64_t sets = (shape.shared_keys ? 1 : shape.N) * heads;
    parallel_for(sets * panels, 1 + 65536 / (d * kKeyPanel), [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i)
            pack_panel(keys + i / panels * L * d, L, d, i % panels, packed + i * d * kKeyPanel);
    });

    const int64_t tile = kernels.tile, tiles = (L + tile - 1) / tile;
    const int64_t floats = correlation_row_floats(all, tile) + kLine;
    const int64_t grain = 1 + 2000000 / (tile * L * (d + 24));
    parallel_for(shape.N * heads * tiles, grain, [&](int64_t begin, int64_t end) {
        thread_local std::vector<float> buffer;
        if (static_cast<int64_t>(buffer.size()) < floats) buffer.resize(floats);
        for (int64_t i = begin; i < end; ++i) {
            const int64_t head = i / tiles;  // of all pictures
            const int64_t first = i % tiles * tile, at = head * L + first;
            CorrelationKeys own = all;
            own.panels = packed + (shape.shared_keys ? head % heads : head) * set;
            kernels.divergence(own, queries + at * d, sigma_x + at, sigma_y + at, first,
                               std::min(tile, L - first), aligned(buffer.data()), per_head + at);
        }
    });
    for (int64_t n = 0; n < shape.N; ++n)
        for (int64_t i = 0; i < L; ++i) {
            float sum = 0.0f;
            for (int64_t m = 0; m < heads; ++m) sum += per_head[(n * heads + m) * L + i];
            divergence[n * L + i] = sum / static_cast<float>(heads);
        }
}

}  // namespace pyad
