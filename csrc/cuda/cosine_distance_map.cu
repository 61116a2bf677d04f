#include "cosine_distance_map.cuh"

namespace pyad::cuda {

size_t cosine_distance_map_workspace(int64_t N, int64_t locations, int64_t H) {
    return sizeof(float) * static_cast<size_t>(N * (locations + 2 * H));
}

void cosine_distance_map(const std::vector<FeaturePair>& pairs,
                         const std::vector<DeviceMapLevel>& levels, int64_t N, void* workspace,
                         float* maps, float* maxima, float* means, void* stream) {
    std::vector<AxisPair> axes;
    for (const DeviceMapLevel& level : levels)
        axes.push_back(
            {view_of(*level.rows, level.row_tables), view_of(*level.columns, level.column_tables)});
    const CosineMapCall call(pairs, axes, N, workspace, maps, maxima, means);
    launch("cosine_distance_map", call.distances, call.blocks_of_distances(), stream);
    launch("cosine_distance_map", call.tile, call.tiles(), stream);
    launch("cosine_distance_map", call.rows, call.groups_of_rows(), stream);
    launch("cosine_distance_map", call.statistics, call.maps(), stream);
}

}  // namespace pyad::cuda
