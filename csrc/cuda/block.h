// Block programs: kernels written once, compiled for the device by nvcc and for the host by any
// C++17 compiler, so that their index arithmetic is tested (and runs under ASan and UBSan) on
// machines without a GPU. No CUDA header is needed on the host.
//
// A kernel is a struct: its members are the parameters, `Shared` its shared memory, operator() what
// one block does.
//
//     struct RowSums {
//         static constexpr int threads = 128;       // of a block; a multiple of 32
//         struct Shared { float partial[threads]; };
//         const float* rows; int64_t D; float* sums;
//         PYAD_DEVICE void operator()(const Block& block, Shared& shared) const {
//             PerThread<float, threads> sum;        // registers that live longer than one phase
//             block.for_each_thread([&](int t) {    // a phase: every thread, then a barrier
//                 sum[t] = 0.0f;
//                 for (int64_t d = t; d < D; d += threads)
//                     sum[t] = add(sum[t], rows[block.x * D + d]);
//             });
//             block.reduce(sum, shared.partial, [](float a, float b) { return add(a, b); });
//             block.for_each_thread([&](int t) { if (t == 0) sums[block.x] = shared.partial[0]; });
//         }
//     };
//     launch("row_sums", RowSums{rows, D, sums}, {Q}, stream);   // in a .cu file
//     run_on_host(RowSums{rows, D, sums}, {Q});                  // in a test
//
// Rules:
//  - Everything a thread does stands in a phase; between phases stands only what is the same for
//  all
//    threads of the block (loops with the same trip count). No __syncthreads and no return inside
//    a phase's function except from that function.
//  - Threads meet through shared memory after a phase, or through the warp operations of warp.h and
//    mma.h inside for_each_warp, where warps may go different ways.
//  - Float arithmetic whose bits matter goes through add, sub, mul, div, root (rounded.h).
//  - A variable that outlives a phase is a PerThread (or PerLane inside for_each_warp), never a
//  plain
//    local: on the host one local would be shared by all threads.
//  - Shared memory is poisoned on the host (0xff bytes: NaN); run_on_host runs the threads in
//    ascending or descending order: a race shows as a difference between the two.
//  - Shared memory whose size is known at run time: give the program `size_t extra_shared_bytes()
//    const`, and take it with block.extra<T>().
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <type_traits>

#ifdef __CUDACC__
#include <cuda_runtime.h>

#include <algorithm>
#include <map>
#include <mutex>

#include "check.h"
#define PYAD_DEVICE __device__ __forceinline__
#define PYAD_HOST_DEVICE __host__ __device__ __forceinline__
#define PYAD_UNROLL _Pragma("unroll")
#else
#include <cstring>
#include <memory>
#define PYAD_DEVICE inline
#define PYAD_HOST_DEVICE inline
#define PYAD_UNROLL
#endif

#include "rounded.h"

namespace pyad::cuda {

constexpr int kWarp = 32;

struct Grid {
    int64_t x = 1, y = 1, z = 1;
};

// One value of every thread of the block; T may be an array. Indexed by the thread; on the device
// every thread sees its own whatever the index says.
template <typename T, int threads>
struct PerThread {
#ifdef __CUDACC__
    T value;
    PYAD_DEVICE T& operator[](int) { return value; }
    PYAD_DEVICE const T& operator[](int) const { return value; }
#else
    std::unique_ptr<T[]> value{new T[threads]};
    T& operator[](int t) { return value[t]; }
    const T& operator[](int t) const { return value[t]; }
#endif
};

// The same for one warp; made inside for_each_warp, indexed by the thread as well.
template <typename T>
struct PerLane {
#ifdef __CUDACC__
    T value;
    PYAD_DEVICE T& operator[](int) { return value; }
    PYAD_DEVICE const T& operator[](int) const { return value; }
#else
    T value[kWarp];
    T& operator[](int t) { return value[t % kWarp]; }
    const T& operator[](int t) const { return value[t % kWarp]; }
#endif
};

}  // namespace pyad::cuda

#include "warp.h"

namespace pyad::cuda {

struct Block {
    int64_t x, y, z;  // which block
    Grid grid;        // of how many
    int threads;
    unsigned char* extra_memory;
    bool descending;  // host: order of the threads within a phase

    // f(t) for every thread, then a barrier.
    template <typename F>
    PYAD_DEVICE void for_each_thread(const F& f) const {
#ifdef __CUDACC__
        f(static_cast<int>(threadIdx.x));
        __syncthreads();
#else
        for (int i = 0; i < threads; ++i) f(descending ? threads - 1 - i : i);
#endif
    }

    // f(warp) for every warp, then a barrier.
    template <typename F>
    PYAD_DEVICE void for_each_warp(const F& f) const {
        for_each_warp_unfenced(f);
#ifdef __CUDACC__
        __syncthreads();
#endif
    }

    // The same without the barrier: the next phase must not touch what this one reads or writes in
    // shared memory.
    template <typename F>
    PYAD_DEVICE void for_each_warp_unfenced(const F& f) const {
#ifdef __CUDACC__
        f(Warp{static_cast<int>(threadIdx.x) / kWarp, false});
#else
        const int warps = threads / kWarp;
        for (int i = 0; i < warps; ++i) f(Warp{descending ? warps - 1 - i : i, descending});
#endif
    }

    // scratch[0] = combine over all threads, as a tree: thread t takes t + half, half halving.
    // threads has to be a power of two; scratch holds one value a thread.
    template <typename T, int n, typename Combine>
    PYAD_DEVICE void reduce(const PerThread<T, n>& values, T* scratch, const Combine& f) const {
        for_each_thread([&](int t) { scratch[t] = values[t]; });
        for (int half = n / 2; half > 0; half /= 2)
            for_each_thread([&](int t) {
                if (t < half) scratch[t] = f(scratch[t], scratch[t + half]);
            });
    }

    template <typename T>
    PYAD_DEVICE T* extra() const {
        return reinterpret_cast<T*>(extra_memory);
    }
};

// What stands behind Shared, 16-byte aligned: extra_shared_bytes() of programs that have it.
template <typename Program, typename = void>
struct ExtraBytes {
    static size_t of(const Program&) { return 0; }
};
template <typename Program>
struct ExtraBytes<Program, std::void_t<decltype(&Program::extra_shared_bytes)>> {
    static size_t of(const Program& program) { return program.extra_shared_bytes(); }
};
template <typename Program>
constexpr size_t kSharedSize = (sizeof(typename Program::Shared) + 15) / 16 * 16;

// Blocks that should fit on one multiprocessor beside each other: a program may set
// `static constexpr int resident = 2` to bound its registers.
template <typename Program, typename = void>
constexpr int kResident = 1;
template <typename Program>
constexpr int kResident<Program, std::void_t<decltype(Program::resident)>> = Program::resident;

// Throws where CUDA could not start so many blocks.
inline void check_grid(const char* op, Grid grid) {
    constexpr int64_t x_limit = (int64_t{1} << 31) - 1, limit = (1 << 16) - 1;
    if (grid.x <= x_limit && grid.y <= limit && grid.z <= limit) return;
    throw std::runtime_error(std::string("[") + op + "] expected a grid of at most 2^31 - 1, " +
                             "65535 and 65535 blocks, got " + std::to_string(grid.x) + ", " +
                             std::to_string(grid.y) + " and " + std::to_string(grid.z) +
                             ". Give the data in several calls.");
}

#ifdef __CUDACC__

template <typename Program>
__global__ void __launch_bounds__(Program::threads, kResident<Program>)
    run_block(const Program program) {
    extern __shared__ __align__(128) unsigned char memory[];
    const Block block{blockIdx.x,
                      blockIdx.y,
                      blockIdx.z,
                      {gridDim.x, gridDim.y, gridDim.z},
                      Program::threads,
                      memory + kSharedSize<Program>,
                      false};
    program(block, *reinterpret_cast<typename Program::Shared*>(memory));
}

// The bound on a program's shared memory belongs to the program, not to a launch: it is only ever
// raised, so that no thread lowers it before another one's launch.
template <typename Program>
void raise_shared_memory(const char* op, size_t bytes) {
    static std::mutex guard;
    static std::map<int, size_t> most;  // by device
    int device = 0;
    check(op, "asking for the current device", cudaGetDevice(&device));
    const std::lock_guard<std::mutex> lock(guard);
    const size_t wanted = std::max(bytes, most[device]);
    check(op, "asking for shared memory",
          cudaFuncSetAttribute(run_block<Program>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(wanted)));
    most[device] = wanted;  // not before it is known to be possible
}

// Enqueues the program on the stream (a cudaStream_t as void*; nullptr is the default stream).
// `op` names the operation in the error. An empty grid is no launch.
template <typename Program>
void launch(const char* op, const Program& program, Grid grid, void* stream) {
    if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
    check_grid(op, grid);
    const size_t bytes = kSharedSize<Program> + ExtraBytes<Program>::of(program);
    if (bytes > 48 * 1024) raise_shared_memory<Program>(op, bytes);
    const dim3 blocks(static_cast<unsigned>(grid.x), static_cast<unsigned>(grid.y),
                      static_cast<unsigned>(grid.z));
    // Not <<<>>>: it returns no status, and the last error may be another call's.
    void* arguments[] = {const_cast<Program*>(&program)};
    check(op, "starting the kernel",
          cudaLaunchKernel(reinterpret_cast<const void*>(&run_block<Program>), blocks,
                           dim3(Program::threads), arguments, bytes,
                           static_cast<cudaStream_t>(stream)));
}

#else

template <typename Program>
void run_on_host(const Program& program, Grid grid, bool descending = false) {
    static_assert(Program::threads % kWarp == 0, "whole warps");
    check_grid("run_on_host", grid);
    const size_t extra = ExtraBytes<Program>::of(program);
    struct alignas(16) Line {
        unsigned char bytes[16];
    };
    // Exactly as long as asked for, so that ASan sees the end of it.
    const std::unique_ptr<Line[]> shared(new Line[kSharedSize<Program> / 16]);
    const std::unique_ptr<Line[]> behind(new Line[(extra + 15) / 16]);
    for (int64_t z = 0; z < grid.z; ++z)
        for (int64_t y = 0; y < grid.y; ++y)
            for (int64_t x = 0; x < grid.x; ++x) {
                std::memset(static_cast<void*>(shared.get()), 0xff, kSharedSize<Program>);
                std::memset(static_cast<void*>(behind.get()), 0xff, (extra + 15) / 16 * 16);
                const Block block{x,
                                  y,
                                  z,
                                  grid,
                                  Program::threads,
                                  reinterpret_cast<unsigned char*>(behind.get()),
                                  descending};
                program(block, *reinterpret_cast<typename Program::Shared*>(shared.get()));
            }
}

#endif

}  // namespace pyad::cuda
