#include "pyad/preprocess.h"

#include <algorithm>
#include <stdexcept>
#include <vector>

#include "pyad/parallel.h"

namespace pyad {
namespace {

// Source rows are taken two at a time to halve the traffic to `sum`; the order of additions stays
// that of the rows.
void sum_rows(const uint8_t* const* rows, const float* weights, int64_t count, int64_t n,
              float* __restrict sum) {
    const uint8_t* __restrict first = rows[0];
    const float w = weights[0];
    for (int64_t i = 0; i < n; ++i) sum[i] = w * static_cast<float>(static_cast<int>(first[i]));
    int64_t t = 1;
    for (; t + 1 < count; t += 2) {
        const uint8_t* __restrict a = rows[t];
        const uint8_t* __restrict b = rows[t + 1];
        const float wa = weights[t], wb = weights[t + 1];
        for (int64_t i = 0; i < n; ++i)
            sum[i] = (sum[i] + wa * static_cast<float>(static_cast<int>(a[i]))) +
                     wb * static_cast<float>(static_cast<int>(b[i]));
    }
    if (t < count) {
        const uint8_t* __restrict a = rows[t];
        const float wa = weights[t];
        for (int64_t i = 0; i < n; ++i) sum[i] += wa * static_cast<float>(static_cast<int>(a[i]));
    }
}

// Sums along a row of RGB pixels; the fourth lane is the neighbour's red and is dropped when
// unpacking.
void sum_columns_rgb(const float* __restrict row, const Banded& columns, const float* scale,
                     const float* offset, float* __restrict packed) {
    const int64_t first = columns.first(0);
    for (int64_t x = 0; x < columns.rows; ++x) {
        const float* __restrict source = row + 3 * (columns.start[x] - first);
        const float* weights = columns.row(x);
        float sum[4] = {0.0f, 0.0f, 0.0f, 0.0f};
        for (int64_t t = 0; t < columns.count[x]; ++t)
            for (int c = 0; c < 4; ++c) sum[c] += weights[t] * source[3 * t + c];
        for (int c = 0; c < 4; ++c) packed[4 * x + c] = sum[c] * scale[c] + offset[c];
    }
}

void sum_columns_mono(const float* __restrict row, const Banded& columns, float* __restrict grey) {
    const int64_t first = columns.first(0);
    for (int64_t x = 0; x < columns.rows; ++x) {
        const float* __restrict source = row + (columns.start[x] - first);
        const float* weights = columns.row(x);
        float sum = 0.0f;
        for (int64_t t = 0; t < columns.count[x]; ++t) sum += weights[t] * source[t];
        grey[x] = sum;
    }
}

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
        begin_ = columns.first(0);
        width_ = (columns.last(columns.rows) - begin_) * in_.C;
        for (int c = 0; c < 3; ++c) plane_[c] = bgr ? 2 - c : c;
        if (copies_)
            for (int c = 0; c < 3; ++c)
                for (int v = 0; v < 256; ++v)
                    table_[c][v] = static_cast<float>(v) * norm.scale[c] + norm.offset[c];
    }

    int64_t cost_of_a_row() const {
        return copies_ ? 3 * columns_.rows
                       : width_ * rows_.taps + 3 * columns_.rows * columns_.taps;
    }

    // Output rows [begin, end) of the N * h rows of the batch.
    void run(int64_t begin, int64_t end) const {
        static thread_local std::vector<float> floats;
        static thread_local std::vector<uint8_t> bytes;
        static thread_local std::vector<const uint8_t*> sources;
        floats.resize(static_cast<size_t>(width_ + 4 + 4 * columns_.rows));
        floats[width_] = 0.0f;  // read as the last pixel's fourth lane
        sources.resize(static_cast<size_t>(rows_.taps));
        if (!packed_) bytes.resize(static_cast<size_t>(width_ * rows_.taps));
        for (int64_t item = begin; item < end; ++item) {
            const int64_t n = item / rows_.rows, y = item % rows_.rows;
            for (int64_t t = 0; t < rows_.count[y]; ++t)
                sources[t] = source_row(n, rows_.start[y] + t,
                                        packed_ ? nullptr : bytes.data() + t * width_);
            float* out = out_ + (3 * n * rows_.rows + y) * columns_.rows;
            if (copies_)
                look_up(sources[0], out);
            else
                resize(sources.data(), y, floats.data(), out);
        }
    }

  private:
    int64_t plane_size() const { return rows_.rows * columns_.rows; }

    const uint8_t* source_row(int64_t n, int64_t i, uint8_t* scratch) const {
        const uint8_t* row = in_.data + n * in_.stride_n + i * in_.stride_h + begin_ * in_.stride_w;
        if (packed_) return row;
        for (int64_t x = 0; x < width_ / in_.C; ++x)
            for (int64_t c = 0; c < in_.C; ++c)
                scratch[x * in_.C + c] = row[x * in_.stride_w + c * in_.stride_c];
        return scratch;
    }

    void look_up(const uint8_t* row, float* out) const {
        for (int c = 0; c < 3; ++c) {
            const int plane = in_.C == 1 ? c : plane_[c];
            const float* table = table_[plane];
            const uint8_t* source = row + (in_.C == 1 ? 0 : c);
            float* __restrict target = out + plane * plane_size();
            for (int64_t x = 0; x < columns_.rows; ++x)
                target[x] = table[source[(columns_.start[x] - begin_) * in_.C]];
        }
    }

    void resize(const uint8_t* const* sources, int64_t y, float* floats, float* out) const {
        const int64_t w = columns_.rows;
        float* sums = floats + width_ + 4;
        sum_rows(sources, rows_.row(y), rows_.count[y], width_, floats);
        if (in_.C == 1) {
            sum_columns_mono(floats, columns_, sums);
            for (int c = 0; c < 3; ++c) {
                float* __restrict target = out + c * plane_size();
                for (int64_t x = 0; x < w; ++x)
                    target[x] = sums[x] * norm_.scale[c] + norm_.offset[c];
            }
            return;
        }
        float scale[4] = {}, offset[4] = {};
        for (int c = 0; c < 3; ++c) {
            scale[c] = norm_.scale[plane_[c]];
            offset[c] = norm_.offset[plane_[c]];
        }
        sum_columns_rgb(floats, columns_, scale, offset, sums);
        float* __restrict out0 = out + plane_[0] * plane_size();
        float* __restrict out1 = out + plane_[1] * plane_size();
        float* __restrict out2 = out + plane_[2] * plane_size();
        for (int64_t x = 0; x < w; ++x) {
            out0[x] = sums[4 * x];
            out1[x] = sums[4 * x + 1];
            out2[x] = sums[4 * x + 2];
        }
    }

    Frames in_;
    const Banded& rows_;
    const Banded& columns_;
    const Normalization& norm_;
    float* const out_;
    bool copies_, packed_;
    int64_t begin_, width_;  // source columns in use: the first, and their number times C
    int plane_[3];           // output plane of each input channel
    float table_[3][256];    // normalised values of the grey levels
};

}  // namespace

void preprocess(const Frames& in, const Banded& rows, const Banded& columns,
                const Normalization& normalization, bool bgr, float* out) {
    if ((in.C != 1 && in.C != 3) || rows.columns != in.H || columns.columns != in.W)
        throw std::invalid_argument(
            "[preprocess] expected 1 or 3 channels and maps made for (H, W).");
    const Job job(in, rows, columns, normalization, bgr, out);
    const int64_t grain = 1 + 65536 / job.cost_of_a_row();
    parallel_for(in.N * rows.rows, grain, [&](int64_t begin, int64_t end) { job.run(begin, end); });
}

}  // namespace pyad
