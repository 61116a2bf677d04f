#include "check.h"
#include "pyad/cuda/device.h"

namespace pyad::cuda {
namespace {

constexpr const char* kOp = "cuda";
cudaStream_t handle(void* stream) { return static_cast<cudaStream_t>(stream); }

}  // namespace

int device_count() {
    int count = 0;
    const cudaError_t status = cudaGetDeviceCount(&count);
    if (means_no_device(status)) {
        cudaGetLastError();  // clears it
        return 0;
    }
    check(kOp, "counting devices", status);
    return count;
}

int current_device() {
    int device = 0;
    check(kOp, "asking for the current device", cudaGetDevice(&device));
    return device;
}

DeviceTraits device_traits() {
    const int device = current_device();
    int major = 0, minor = 0, multiprocessors = 0;
    constexpr const char* what = "asking for the device's properties";
    check(kOp, what, cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
    check(kOp, what, cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device));
    check(kOp, what,
          cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device));
    return {10 * major + minor, multiprocessors};
}

std::string device_name() {
    cudaDeviceProp properties{};
    check(kOp, "asking for the device's name",
          cudaGetDeviceProperties(&properties, current_device()));
    return properties.name;
}

void* allocate(size_t bytes) {
    if (bytes == 0) return nullptr;
    void* memory = nullptr;
    check(kOp, "allocating memory", cudaMalloc(&memory, bytes));
    return memory;
}

void release(void* memory) noexcept {
    if (cudaFree(memory) != cudaSuccess) cudaGetLastError();  // not the next call's failure
}

void* allocate_pinned(size_t bytes) {
    if (bytes == 0) return nullptr;
    void* memory = nullptr;
    check(kOp, "allocating pinned memory", cudaHostAlloc(&memory, bytes, cudaHostAllocDefault));
    return memory;
}

void release_pinned(void* memory) noexcept {
    if (cudaFreeHost(memory) != cudaSuccess) cudaGetLastError();
}

void enqueue_copy(void* to, const void* from, size_t bytes, void* stream) {
    if (bytes == 0) return;
    check(kOp, "enqueuing a copy",
          cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, handle(stream)));
}

void copy_to_device(void* to, const void* from, size_t bytes, void* stream) {
    if (bytes == 0) return;
    check(kOp, "copying to the device",
          cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, handle(stream)));
    synchronize(stream);
}

void copy_to_host(void* to, const void* from, size_t bytes, void* stream) {
    if (bytes == 0) return;
    check(kOp, "copying from the device",
          cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, handle(stream)));
    synchronize(stream);
}

void fill_bytes(void* memory, int value, size_t bytes, void* stream) {
    if (bytes == 0) return;
    check(kOp, "filling memory", cudaMemsetAsync(memory, value, bytes, handle(stream)));
}

void synchronize(void* stream) {
    check(kOp, "an operation on the stream", cudaStreamSynchronize(handle(stream)));
}

void wait_for(void* stream, void* producer) {
    cudaEvent_t event = nullptr;
    check(kOp, "making an event", cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
    cudaError_t status = cudaEventRecord(event, handle(producer));
    if (status == cudaSuccess) status = cudaStreamWaitEvent(handle(stream), event, 0);
    cudaEventDestroy(event);  // kept by the runtime until it has happened
    check(kOp, "waiting for another stream", status);
}

int device_of(const void* memory) {
    cudaPointerAttributes attributes{};
    check(kOp, "asking where memory lies", cudaPointerGetAttributes(&attributes, memory));
    const bool on_device =
        attributes.type == cudaMemoryTypeDevice || attributes.type == cudaMemoryTypeManaged;
    return on_device ? attributes.device : -1;
}

}  // namespace pyad::cuda
