// pyad/cuda/device.h on host memory: one "device", whose memory is told from the host's by a list
// and poisoned when it is taken. PYAD_EMULATED_DEVICE=1 makes a second one, without memory, the
// current one.
#include "pyad/cuda/device.h"

#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <stdexcept>

namespace pyad::cuda {
namespace {

std::mutex guard;
std::map<const unsigned char*, size_t>& blocks() {
    static std::map<const unsigned char*, size_t> all;
    return all;
}

// The block that holds [memory, memory + bytes) must be one of ours.
void require(const void* memory, size_t bytes, const char* what) {
    const std::lock_guard<std::mutex> lock(guard);
    const auto* at = static_cast<const unsigned char*>(memory);
    auto block = blocks().upper_bound(at);
    if (block == blocks().begin()) throw std::runtime_error(what);
    --block;
    if (at + bytes > block->first + block->second) throw std::runtime_error(what);
}

}  // namespace

int device_count() { return 1; }
int current_device() {
    const char* current = std::getenv("PYAD_EMULATED_DEVICE");
    return current == nullptr ? 0 : std::atoi(current);
}
DeviceTraits device_traits() { return {90, 132}; }
std::string device_name() { return "emulated"; }

void* allocate(size_t bytes) {
    if (bytes == 0) return nullptr;
    void* memory = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
    if (memory == nullptr) throw std::runtime_error("[cuda] allocating memory failed");
    std::memset(memory, 0xff, bytes);
    const std::lock_guard<std::mutex> lock(guard);
    blocks()[static_cast<const unsigned char*>(memory)] = bytes;
    return memory;
}

void release(void* memory) noexcept {
    const std::lock_guard<std::mutex> lock(guard);
    blocks().erase(static_cast<const unsigned char*>(memory));
    std::free(memory);
}

void* allocate_pinned(size_t bytes) {
    if (bytes == 0) return nullptr;
    void* memory = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
    if (memory == nullptr) throw std::runtime_error("[cuda] allocating pinned memory failed");
    std::memset(memory, 0xff, bytes);
    return memory;
}
void release_pinned(void* memory) noexcept { std::free(memory); }

void enqueue_copy(void* to, const void* from, size_t bytes, void*) {
    if (bytes == 0) return;
    const bool up = device_of(to) >= 0, down = device_of(from) >= 0;
    if (up) require(to, bytes, "[cuda] a copy leaves the device's memory");
    if (down) require(from, bytes, "[cuda] a copy leaves the device's memory");
    if (!up && !down) throw std::runtime_error("[cuda] a copy between two places on the host");
    std::memcpy(to, from, bytes);
}

void copy_to_device(void* to, const void* from, size_t bytes, void*) {
    if (bytes == 0) return;
    require(to, bytes, "[cuda] a copy leaves the device's memory");
    std::memcpy(to, from, bytes);
}
void copy_to_host(void* to, const void* from, size_t bytes, void*) {
    if (bytes == 0) return;
    require(from, bytes, "[cuda] a copy leaves the device's memory");
    std::memcpy(to, from, bytes);
}
void fill_bytes(void* memory, int value, size_t bytes, void*) {
    if (bytes == 0) return;
    require(memory, bytes, "[cuda] filling leaves the device's memory");
    std::memset(memory, value, bytes);
}

void synchronize(void*) {}
void wait_for(void*, void*) {}

int device_of(const void* memory) {
    try {
        require(memory, 1, "");
    } catch (const std::runtime_error&) {
        return -1;
    }
    return 0;
}

}  // namespace pyad::cuda
