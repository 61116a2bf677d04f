#include "patch_aggregation.cuh"

namespace pyad::cuda {

size_t packed_bytes(const AggregationPlan& plan) {
    return for_each_table(plan, [](size_t, size_t, int) {});
}

void pack(const AggregationPlan& plan, unsigned char* out) { pack_tables(plan, out); }

void patch_aggregation(const AggregationPlan& plan, const void* tables,
                       const std::vector<DeviceFeatureMap>& features, int64_t N, float* out,
                       void* stream) {
    AggregationTile tile = {};
    tile.tables = tables_at(plan, tables);
    const Grid grid = prepare_aggregation(tile, plan, features, N, out);
    launch("patch_aggregation", tile, grid, stream);
}

}  // namespace pyad::cuda
