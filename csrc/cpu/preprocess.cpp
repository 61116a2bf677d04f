#include "pyad/preprocess.h"

#include <algorithm>
#include <stdexcept>
#include <vector>

#include "lanes4.h"
#include "pyad/parallel.h"
#include "resize.h"

namespace pyad {
namespace {

constexpr int64_t kPieceFloats = 1536;  // of a source row in one piece: a strip of them is 96 kB

// Products of one piece of work, about 50 us: waking another thread costs 40.
constexpr int64_t kPiece = 1 << 19;

// One call's plan, shared by all threads.
class Job {
  public:
    Job(const Frames& in, const Banded& rows, const Banded& columns, const Normalization& norm,
        bool bgr, float* out)
        : in_(in), rows_(rows), columns_(columns), norm_(norm), out_(out) {
        copies_ = rows.copies && columns.copies;
        // A view with its channels reversed is the other colour order seen from the other end.
        if (in_.C == 3 && in_.stride_c == -1) {
            in_.data -= 2;
            in_.stride_c = 1;
            bgr = !bgr;
        }
        packed_ = in_.stride_w == in_.C && (in_.C == 1 || in_.stride_c == 1);
        width_ = (columns.last(columns.rows) - columns.first(0)) * in_.C;
        piece_ = std::max<int64_t>(8, kPieceFloats * columns.rows / width_);
        for (int c = 0; c < 3; ++c) plane_[c] = bgr ? 2 - c : c;
        adjacent_ = packed_ && columns.last(columns.rows) - columns.first(0) == columns.rows;
        for (int64_t x = 1; x < columns.rows && adjacent_; ++x)
            adjacent_ = columns.start[x] == columns.start[x - 1] + 1;
        if (copies_ && !normalizes())
            for (int c = 0; c < 3; ++c)
                for (int v = 0; v < 256; ++v)
                    table_[c][v] = static_cast<float>(v) * norm.scale[c] + norm.offset[c];
    }

    int64_t strips() const { return (rows_.rows + kStrip - 1) / kStrip; }  // of one picture

    int64_t cost_of_a_strip() const {
        return kStrip * (copies_ ? 8 * columns_.rows
                                 : width_ * rows_.taps + 3 * columns_.rows * columns_.taps);
    }

    // Strips [begin, end) of the N * strips() of the batch.
    void run(int64_t begin, int64_t end) const {
        for (int64_t strip = begin; strip < end; ++strip) {
            const int64_t n = strip / strips(), y = strip % strips() * kStrip;
            const int64_t height = std::min(kStrip, rows_.rows - y);
            float* out = out_ + (3 * n * rows_.rows + y) * columns_.rows;
            if (normalizes())
                normalize(n, y, height, out);
            else if (copies_)
                look_up(n, y, height, out);
            else
                resize(n, y, height, out);
        }
    }

  private:
    int64_t plane_size() const { return rows_.rows * columns_.rows; }

    // `width` pixels of source row i from column x on, copied to scratch where they lie apart.
    const uint8_t* source_row(int64_t n, int64_t i, int64_t x, int64_t width,
                              uint8_t* scratch) const {
        const uint8_t* row = in_.data + n * in_.stride_n + i * in_.stride_h + x * in_.stride_w;
        if (packed_) return row;
        for (int64_t j = 0; j < width; ++j)
            for (int64_t c = 0; c < in_.C; ++c)
                scratch[j * in_.C + c] = row[j * in_.stride_w + c * in_.stride_c];
        return scratch;
    }

    bool normalizes() const { return copies_ && adjacent_ && kernels_.normalize; }

    void normalize(int64_t n, int64_t y, int64_t height, float* out) const {
        float scale[3], offset[3];
        float* planes[3];
        for (int c = 0; c < 3; ++c) {  // of the picture; planes are the network's
            const int plane = in_.C == 1 ? c : plane_[c];
            scale[c] = norm_.scale[plane];
            offset[c] = norm_.offset[plane];
            planes[c] = out + plane * plane_size();
        }
        for (int64_t r = 0; r < height; ++r) {
            const uint8_t* row = in_.data + n * in_.stride_n + rows_.start[y + r] * in_.stride_h +
                                 columns_.start[0] * in_.stride_w;
            kernels_.normalize(row, in_.C, columns_.rows, scale, offset, planes);
            for (float*& plane : planes) plane += columns_.rows;
        }
    }

    void look_up(int64_t n, int64_t y, int64_t height, float* out) const {
        for (int64_t r = 0; r < height; ++r, out += columns_.rows) {
            const uint8_t* row = in_.data + n * in_.stride_n + rows_.start[y + r] * in_.stride_h;
            for (int c = 0; c < 3; ++c) {
                const int plane = in_.C == 1 ? c : plane_[c];
                const float* table = table_[plane];
                const uint8_t* source = row + (in_.C == 1 ? 0 : c * in_.stride_c);
                float* __restrict target = out + plane * plane_size();
                for (int64_t x = 0; x < columns_.rows; ++x)
                    target[x] = table[source[columns_.start[x] * in_.stride_w]];
            }
        }
    }

    // A strip of rows is summed first, piece by piece so that it stays in cache, and laid side by
    // side: the sums along the rows then run on all of them at once.
    void resize(int64_t n, int64_t y, int64_t height, float* out) const {
        static thread_local std::vector<float> rows, strip, sums;
        static thread_local std::vector<uint8_t> bytes;
        static thread_local std::vector<const uint8_t*> sources;
        sources.resize(static_cast<size_t>(rows_.taps));
        float scale[3], offset[3];
        for (int c = 0; c < 3; ++c) {
            scale[c] = in_.C == 1 ? 1.0f : norm_.scale[plane_[c]];
            offset[c] = in_.C == 1 ? 0.0f : norm_.offset[plane_[c]];
        }
        for (int64_t begin = 0; begin < columns_.rows; begin += piece_) {
            const int64_t end = std::min(begin + piece_, columns_.rows);
            const int64_t first = columns_.first(begin), width = columns_.last(end) - first;
            const int64_t floats = width * in_.C;
            rows.resize(static_cast<size_t>(kStrip * floats));
            strip.resize(static_cast<size_t>(kStrip * floats));
            sums.resize(static_cast<size_t>(kStrip * (end - begin) * in_.C));
            bytes.resize(static_cast<size_t>(packed_ ? 0 : floats * rows_.taps));
            for (int64_t r = 0; r < height; ++r) {
                for (int64_t t = 0; t < rows_.count[y + r]; ++t)
                    sources[t] = source_row(n, rows_.start[y + r] + t, first, width,
                                            packed_ ? nullptr : bytes.data() + t * floats);
                kernels_.sum_rows(sources.data(), rows_.row(y + r), rows_.count[y + r], floats,
                                  rows.data() + r * floats);
            }
            transpose4(rows.data(), floats, height, floats, strip.data(), kStrip);
            kernels_.sum_columns(strip.data(), in_.C, columns_.start.data() + begin, first,
                                 columns_.count.data() + begin, columns_.row(begin), columns_.taps,
                                 end - begin, scale, offset, sums.data());
            for (int64_t c = 0; c < in_.C; ++c) {
                const float* plane = sums.data() + c * (end - begin) * kStrip;
                float* target = out + (in_.C == 1 ? 0 : plane_[c]) * plane_size() + begin;
                transpose4(plane, kStrip, end - begin, height, target, columns_.rows);
            }
        }
        if (in_.C == 1) repeat(height, out);
    }

    // The first plane, still as sums, to the three normalised ones.
    void repeat(int64_t height, float* out) const {
        const int64_t size = height * columns_.rows;
        for (int c = 2; c >= 0; --c) {
            float* target = out + c * plane_size();
            for (int64_t i = 0; i < size; ++i)
                target[i] = out[i] * norm_.scale[c] + norm_.offset[c];
        }
    }

    Frames in_;
    const Banded& rows_;
    const Banded& columns_;
    const Normalization& norm_;
    float* const out_;
    bool copies_, packed_, adjacent_;
    const ResizeKernels& kernels_ = resize_kernels();
    int64_t width_;        // source columns in use, times C
    int64_t piece_;        // output columns of one piece
    int plane_[3];         // output plane of each input channel
    float table_[3][256];  // normalised values of the grey levels
};

}  // namespace

void preprocess(const Frames& in, const Banded& rows, const Banded& columns,
                const Normalization& normalization, bool bgr, float* out) {
    if ((in.C != 1 && in.C != 3) || rows.columns != in.H || columns.columns != in.W)
        throw std::invalid_argument(
            "[preprocess] expected 1 or 3 channels and maps made for (H, W).");
    const Job job(in, rows, columns, normalization, bgr, out);
    const int64_t grain = 1 + kPiece / job.cost_of_a_strip();
    parallel_for(in.N * job.strips(), grain,
                 [&](int64_t begin, int64_t end) { job.run(begin, end); });
}

}  // namespace pyad
