// Points in 8 bits with one common scale, and the test that leaves few pairs of a point and a pick
// to the canonical distance. For greedy_coreset, on CPUs with integer dot products.
//
// A centred point x is s v + r with v in [-127, 127]^P, one scale s for all points, and an upper
// bound rho of every ||r||. K = ||v_x - v_y||^2 is an exact integer, and by the triangle inequality
//     ||x - y|| >= s sqrt(K) - 2 rho,
// so a pick can lower the minimum distance d of a point only where K < R = ((d + 2 rho) / s)^2.
// With K = |v_x|^2 + |v_y|^2 - 2 v_x.v_y that is one comparison of integers,
//     v_x.v_y - floor(|v_y|^2 / 2) > floor((|v_x|^2 - R) / 2),
// the left side ready in the accumulators that start from the pick's own number, the right side
// kept for each point: its bar. (Both floors only let more pairs through.) What rounding may do to
// the canonical distance, to s v and to R is added to d and rho.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

namespace pyad {

constexpr int64_t kCoresetPanel = 32;  // picks of one panel
constexpr int64_t kCoresetDim = 1024;  // longer points could overflow the sums
constexpr int32_t kNoHit = 1 << 29;    // a bar above every product
constexpr int kMaxCoresetHeight = 32;
constexpr int64_t kCoresetRows = 384;  // of one block of a pass: whole tiles of every height
constexpr float kPicked = -1.0f;       // a picked row's minimum distance, below all others

// The instruction set's part.
struct CoresetKernels {
    int height;  // points of one tile

    // Called on a thread before its tiles and after them.
    void (*begin)();
    void (*end)();

    // dots[r, j] = points[r] . panel[j] + offsets[j] for `height` points and 32 picks; bit j of
    // hits[r] is set where that is above bars[r]. Returns the points that have any, a bit each.
    //   points (height, depth) int8     panel (depth / 4, 32, 4) uint8: v + 128
    uint32_t (*tile)(const int8_t* points, const uint8_t* panel, int64_t depth,
                     const int32_t* offsets, const int32_t* bars, uint32_t* hits, int32_t* dots);

    // The same for one point and many panels, without dots.
    void (*scan)(const int8_t* point, const uint8_t* panels, int64_t count, int64_t depth,
                 const int32_t* offsets, int32_t bar, uint32_t* hits);

    // Largest absolute value of n points (n, P) minus mean (P); NaN never occurs.
    float (*largest)(const float* points, int64_t n, int64_t P, const float* mean);

    // v of one point and its square norm; out has room for P rounded up to sixteens. Returns an
    // upper bound of ||r||.
    float (*quantize)(const float* point, int64_t P, const float* mean, float scale, int8_t* out,
                      int32_t* norm, int32_t* sum);
};

// For instruction sets without forms of their own.
float coreset_largest(const float* points, int64_t n, int64_t P, const float* mean);
float coreset_quantize(const float* point, int64_t P, const float* mean, float scale, int8_t* out,
                       int32_t* norm, int32_t* sum);

#ifdef PYAD_X86_LEVELS
#ifdef PYAD_AVX_VNNI_LEVEL
extern const CoresetKernels coreset_avx2vnni;
#endif
extern const CoresetKernels coreset_avx512vnni;
#ifdef PYAD_AMX_LEVEL
extern const CoresetKernels coreset_avx512amx;
#endif
// What the two with AVX-512 have in common.
void coreset_scan_avx512(const int8_t* point, const uint8_t* panels, int64_t count, int64_t depth,
                         const int32_t* offsets, int32_t bar, uint32_t* hits);
float coreset_largest_avx512(const float* points, int64_t n, int64_t P, const float* mean);
float coreset_quantize_avx512(const float* point, int64_t P, const float* mean, float scale,
                              int8_t* out, int32_t* norm, int32_t* sum);
#endif

// Of the level in use; nullptr where it has none that pay.
const CoresetKernels* coreset_kernels();

// Picks packed for the tile.
struct CoresetPanels {
    std::vector<uint8_t> values;   // (panels, depth / 4, 32, 4)
    std::vector<int32_t> offsets;  // (panels, 32)
    int64_t count = 0;             // panels
    int64_t size = 0;              // bytes of one

    const uint8_t* panel(int64_t p) const { return values.data() + p * size; }
};

class CoresetScreen {
  public:
    // Quantises all points (N, P); nullptr where their values or their length do not allow it.
    static std::unique_ptr<CoresetScreen> make(const CoresetKernels& kernels, const float* points,
                                               int64_t N, int64_t P, const float* mean);

    const CoresetKernels& kernels() const { return kernels_; }
    int64_t depth() const { return depth_; }
    const int8_t* point(int64_t n) const { return values_.data() + n * depth_; }

    // The number that a product with point n must exceed to be of interest, what the stored 128 add
    // included; `nearest` is the point's canonical minimum distance so far, or negative where it
    // takes no part.
    int32_t bar(int64_t n, float nearest) const {
        return std::min(half_excess(n, nearest) + 128 * sums_[n], kNoHit);
    }

    // Packs points as picks: each one's offset is -floor(|v|^2 / 2).
    void pack(const std::vector<int64_t>& rows, int64_t first, CoresetPanels* out) const;

    // With these offsets instead, a scan with another point finds those that it is nearer to; the
    // other point's bar is then scan_bar.
    int32_t scan_offset(int64_t n, float nearest) const { return -half_excess(n, nearest); }
    int32_t scan_bar(int64_t n) const { return (norms_[n] >> 1) + 128 * sums_[n]; }

  private:
    CoresetScreen(const CoresetKernels& kernels, int64_t N, int64_t P);

    int32_t half_excess(int64_t n, float nearest) const;  // floor((|v|^2 - R) / 2)

    const CoresetKernels& kernels_;
    int64_t N_, depth_;
    double error_;        // relative, of the root of a canonical distance
    double inverse_ = 0;  // 1 / s
    double reach_ = 0;    // 2 rho
    std::vector<int8_t> values_;
    std::vector<int32_t> norms_, sums_;
};

}  // namespace pyad
