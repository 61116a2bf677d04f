// The inner loops of correlation_divergence, one set for each instruction set.
#pragma once

#include <cstdint>

namespace pyad {

constexpr int64_t kKeyPanel = 32;  // keys of one panel

// What is the same for all rows of one picture and head.
struct CorrelationKeys {
    const float* panels;  // (panels, d, 32), 64-byte aligned; keys beyond L are zeros
    int64_t h, w, d;
    float factor;  // log2(e) scale

    int64_t panel_count() const { return (h * w + kKeyPanel - 1) / kKeyPanel; }
    int64_t padded() const { return panel_count() * kKeyPanel; }
};

struct CorrelationKernels {
    int64_t tile;  // rows of one call
    // Divergence of rows first, ..., first + n - 1, n <= tile; the pointers are those rows'.
    // scratch: correlation_row_floats floats, 64-byte aligned.
    void (*divergence)(const CorrelationKeys& keys, const float* queries, const float* sigma_x,
                       const float* sigma_y, int64_t first, int64_t n, float* scratch, float* out);
};

// Floats of the scratch of one tile: logits, target, the two axes, packed queries.
inline int64_t correlation_row_floats(const CorrelationKeys& keys, int64_t tile) {
    return (tile + 1) * keys.padded() + 16 + keys.w + 15 + keys.h + 15 + keys.d * tile;
}

extern const CorrelationKernels correlation_portable, correlation_avx2, correlation_avx512;

// Those of the level in use.
const CorrelationKernels& correlation_kernels();

}  // namespace pyad
