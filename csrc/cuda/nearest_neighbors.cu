#include <memory>

#include "check.h"
#include "pyad/cuda/nearest_neighbors.h"

namespace pyad::cuda {
namespace {

constexpr int kThreads = 128;

void check(cudaError_t status, const char* what) { cuda::check("nearest_neighbors", what, status); }

__device__ float canonical(const float* a, const float* b, int64_t D) {
    float lanes[16];
#pragma unroll
    for (int l = 0; l < 16; ++l) lanes[l] = 0.0f;
    for (int64_t d = 0; d < D; d += 16) {
#pragma unroll
        for (int l = 0; l < 16; ++l) {
            if (d + l < D) {
                const float difference = __fsub_rn(a[d + l], b[d + l]);
                lanes[l] = __fadd_rn(lanes[l], __fmul_rn(difference, difference));
            }
        }
    }
#pragma unroll
    for (int half = 8; half >= 1; half /= 2)
#pragma unroll
        for (int l = 0; l < half; ++l) lanes[l] = __fadd_rn(lanes[l], lanes[l + half]);
    return lanes[0];
}

__device__ bool before(float d, int64_t i, float other_d, int64_t other_i) {
    return d < other_d || (d == other_d && i < other_i);
}

__global__ void nearest(const float* queries, const float* bank, int64_t M, int64_t D,
                        float* distances, int64_t* indices) {
    __shared__ float best_distance[kThreads];
    __shared__ int64_t best_index[kThreads];
    const float* query = queries + blockIdx.x * D;
    float distance = INFINITY;
    int64_t index = M;
    for (int64_t m = threadIdx.x; m < M; m += kThreads) {
        const float d = canonical(query, bank + m * D, D);
        if (before(d, m, distance, index)) {
            distance = d;
            index = m;
        }
    }
    best_distance[threadIdx.x] = distance;
    best_index[threadIdx.x] = index;
    __syncthreads();
    for (int half = kThreads / 2; half > 0; half /= 2) {
        if (threadIdx.x < half &&
            before(best_distance[threadIdx.x + half], best_index[threadIdx.x + half],
                   best_distance[threadIdx.x], best_index[threadIdx.x])) {
            best_distance[threadIdx.x] = best_distance[threadIdx.x + half];
            best_index[threadIdx.x] = best_index[threadIdx.x + half];
        }
        __syncthreads();
    }
    if (threadIdx.x == 0) {
        distances[blockIdx.x] = best_distance[0];
        indices[blockIdx.x] = best_index[0];
    }
}

template <typename T>
struct Free {
    void operator()(T* pointer) const { cudaFree(pointer); }
};

template <typename T>
std::unique_ptr<T, Free<T>> allocate(int64_t n) {
    T* pointer = nullptr;
    check(cudaMalloc(&pointer, n * sizeof(T)), "allocating memory");
    return std::unique_ptr<T, Free<T>>(pointer);
}

}  // namespace

void nearest_neighbors(const float* queries, int64_t Q, const float* bank, int64_t M, int64_t D,
                       float* distances, int64_t* indices) {
    if (Q == 0) return;
    const auto device_queries = allocate<float>(Q * D);
    const auto device_bank = allocate<float>(M * D);
    const auto device_distances = allocate<float>(Q);
    const auto device_indices = allocate<int64_t>(Q);
    check(cudaMemcpy(device_queries.get(), queries, Q * D * sizeof(float), cudaMemcpyHostToDevice),
          "copying the queries");
    check(cudaMemcpy(device_bank.get(), bank, M * D * sizeof(float), cudaMemcpyHostToDevice),
          "copying the bank");
    nearest<<<static_cast<unsigned>(Q), kThreads>>>(device_queries.get(), device_bank.get(), M, D,
                                                    device_distances.get(), device_indices.get());
    check(cudaGetLastError(), "starting the kernel");
    check(cudaMemcpy(distances, device_distances.get(), Q * sizeof(float), cudaMemcpyDeviceToHost),
          "the kernel");
    check(cudaMemcpy(indices, device_indices.get(), Q * sizeof(int64_t), cudaMemcpyDeviceToHost),
          "copying the indices");
}

}  // namespace pyad::cuda
