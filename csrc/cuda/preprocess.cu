#include "preprocess.cuh"

namespace pyad::cuda {

void preprocess(const Frames& in, const Banded& rows, const void* row_tables, const Banded& columns,
                const void* column_tables, const Normalization& normalization, bool bgr, float* out,
                void* stream) {
    with_preprocess_tile(in, view_of(rows, row_tables), view_of(columns, column_tables),
                         normalization, bgr, out, [&](const auto& program, const Grid& grid) {
                             launch("preprocess", program, grid, stream);
                         });
}

}  // namespace pyad::cuda
