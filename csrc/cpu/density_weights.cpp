#include "pyad/density_weights.h"

#include <algorithm>
#include <atomic>
#include <vector>

#include "density.h"
#include "pyad/level.h"
#include "pyad/parallel.h"

namespace pyad {
namespace {

constexpr int64_t kMaxBlock = 8;

// Memory of a thread, kept between calls; begins at a cache line.
template <typename T>
class Scratch {
  public:
    T* at_least(int64_t n) {
        constexpr size_t line = 64 / sizeof(T);
        if (memory_.size() < n + line) memory_.resize(n + line);
        const auto address = reinterpret_cast<uintptr_t>(memory_.data());
        return memory_.data() + (64 - address % 64) % 64 / sizeof(T);
    }

  private:
    std::vector<T> memory_;
};

// What every piece of the work needs.
struct Job {
    const DensityKernels& kernels;
    DensityExponent exponent;
    int64_t D, depth;
    const int16_t* groups;  // packed
    const float* queue;
    int64_t Q, segments;
    int32_t* references;  // (groups * MR, segments), as the sums
    float* sums;
    std::atomic<bool>& finite;

    // Sums of groups [begin, end) over one segment, which is packed here: it stays in the cache.
    void segment(int64_t s, int64_t begin, int64_t end) const {
        const int64_t first = s * panels_of_segment(Q) * kDensityPanel;
        const int64_t rows = std::min(panels_of_segment(Q) * kDensityPanel, Q - first);
        thread_local Scratch<int16_t> scratch;
        int16_t* panels = scratch.at_least(density_panels(rows) * kDensityPanel * depth);
        for (int64_t row = 0; row < rows; row += kDensityPanel)
            if (!kernels.pack_panel(queue + (first + row) * D, std::min(kDensityPanel, rows - row),
                                    D, panels + row * depth))
                finite.store(false);
        for (int64_t g = begin; g < end; g += kernels.block) {
            const int64_t n = std::min(kernels.block, end - g) * kernels.MR;
            alignas(64) int32_t reference[kMaxBlock * kMaxDensityHeight];
            alignas(64) float lanes[kMaxBlock * kMaxDensityHeight * kDensityRun];
            std::fill(reference, reference + n, kDensityUnit * kDensityUnit);
            std::fill(lanes, lanes + n * kDensityRun, 0.0f);
            kernels.sum(groups + g * kernels.MR * depth, n / kernels.MR, panels, rows, D, exponent,
                        reference, lanes);
            for (int64_t r = 0; r < n; ++r) {
                float* l = lanes + r * kDensityRun;
                for (int half = kDensityRun / 2; half >= 1; half /= 2)
                    for (int i = 0; i < half; ++i) l[i] = l[i] + l[i + half];
                const int64_t i = (g * kernels.MR + r) * segments + s;
                references[i] = reference[r];
                sums[i] = l[0];
            }
        }
    }
};

}  // namespace

const DensityKernels& density_kernels() {
#ifdef PYAD_X86_LEVELS
    switch (active_level()) {
#ifdef PYAD_AMX_LEVEL
        case Level::avx512amx:
            return density_avx512amx;
#endif
        case Level::avx512vnni:
            return density_avx512vnni;
        case Level::avx512:
            return density_avx512;
#ifdef PYAD_AVX_VNNI_LEVEL
        case Level::avx2vnni:
            return density_avx2vnni;
#endif
        case Level::avx2:
            return density_avx2;
        default:
            break;
    }
#endif
    return density_portable;
}

bool density_weights(const float* features, int64_t q, const float* queue, int64_t Q, int64_t D,
                     double beta, float* log_weights) {
    if (q == 0) return true;
    std::atomic<bool> finite{true};
    const DensityKernels& kernels = density_kernels();
    const DensityExponent exponent = exponent_of(beta);
    const int64_t MR = kernels.MR, depth = (D + kernels.align - 1) / kernels.align * kernels.align;
    const int64_t groups = (q + MR - 1) / MR;
    const int64_t run = panels_of_segment(Q), segments = (density_panels(Q) + run - 1) / run;
    // The caller's, lent to the workers while this call lasts.
    thread_local Scratch<int16_t> packed;
    thread_local Scratch<int32_t> references;
    thread_local Scratch<float> sums;
    int16_t* group = packed.at_least(groups * MR * depth);
    int32_t* reference = references.at_least(groups * MR * segments);
    float* sum = sums.at_least(groups * MR * segments);
    parallel_for(groups, kernels.block, [&](int64_t begin, int64_t end) {
        for (int64_t g = begin; g < end; ++g)
            if (!kernels.pack_group(features + g * MR * D, std::min(MR, q - g * MR), D,
                                    group + g * MR * depth))
                finite.store(false);
    });
    const Job job{kernels, exponent, D, depth, group, queue, Q, segments, reference, sum, finite};
    // Pieces are segments; where threads outnumber them, parts of the features against a segment.
    const int64_t parts = std::min((num_threads() + segments - 1) / segments,
                                   (groups + kernels.block - 1) / kernels.block);
    parallel_for(segments * parts, 1, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i)
            job.segment(i / parts, groups * (i % parts) / parts, groups * (i % parts + 1) / parts);
    });
    for (int64_t i = 0; i < q; ++i)
        log_weights[i] = log_weight(reference + i * segments, sum + i * segments, segments,
                                    exponent.scale, beta);
    return finite.load();
}

}  // namespace pyad
