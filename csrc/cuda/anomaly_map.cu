#include "anomaly_map.cuh"

namespace pyad::cuda {

size_t anomaly_map_workspace(int64_t N, int64_t H, int64_t W) {
    return sizeof(float) * static_cast<size_t>(N * AnomalyMapTile::tiles(H, W));
}

void anomaly_map(const float* scores, int64_t N, const Banded& rows, const void* row_tables,
                 const Banded& columns, const void* column_tables, void* workspace, float* maps,
                 float* maxima, void* stream) {
    const AnomalyMapCall call(scores, N, view_of(rows, row_tables), view_of(columns, column_tables),
                              workspace, maps, maxima);
    launch("anomaly_map", call.tile, call.tiles(), stream);
    launch("anomaly_map", call.maximum, call.maps(), stream);
}

}  // namespace pyad::cuda
