// Devices, memory and streams for the CUDA kernels. A stream is a cudaStream_t as void*; nullptr is
// the default stream. Everything here throws std::runtime_error if the device fails.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace pyad::cuda {

// Devices that can be used; 0 where there is no driver or no device.
int device_count();

// The device of the calling thread.
int current_device();

// Compute capability of the current device as major * 10 + minor, and its multiprocessors.
struct DeviceTraits {
    int capability;
    int multiprocessors;
};
DeviceTraits device_traits();
// Its name, as nvidia-smi prints it.
std::string device_name();

// Memory of the current device, 256-byte aligned; nullptr for no bytes.
void* allocate(size_t bytes);
void release(void* memory) noexcept;

// Host memory that the device copies to and from by itself; nullptr for no bytes.
void* allocate_pinned(size_t bytes);
void release_pinned(void* memory) noexcept;

// Enqueued on the stream; those from and to the host return when the host memory may be used again.
void copy_to_device(void* to, const void* from, size_t bytes, void* stream);
void copy_to_host(void* to, const void* from, size_t bytes, void* stream);
// Enqueued only: either side may be device memory or memory of allocate_pinned, which has to stay
// until the stream has got there. May be captured into a graph.
void enqueue_copy(void* to, const void* from, size_t bytes, void* stream);
void fill_bytes(void* memory, int value, size_t bytes, void* stream);

void synchronize(void* stream);
// What is enqueued on `stream` from now on waits for what is enqueued on `producer` now.
void wait_for(void* stream, void* producer);

// The device that holds this memory; -1 for host memory.
int device_of(const void* memory);

}  // namespace pyad::cuda
