// Memory that starts at a cache line: vectors of 64 bytes that cross two lines cost two loads each.
#pragma once

#include <cstddef>
#include <new>
#include <vector>

namespace pyad {

template <typename T>
struct LineAllocator {
    using value_type = T;
    static constexpr std::align_val_t kLine{64};

    LineAllocator() = default;
    template <typename U>
    LineAllocator(const LineAllocator<U>&) {}

    T* allocate(size_t n) { return static_cast<T*>(::operator new(n * sizeof(T), kLine)); }
    void deallocate(T* p, size_t) { ::operator delete(p, kLine); }

    template <typename U>
    bool operator==(const LineAllocator<U>&) const {
        return true;
    }
    template <typename U>
    bool operator!=(const LineAllocator<U>&) const {
        return false;
    }
};

template <typename T>
using AlignedVector = std::vector<T, LineAllocator<T>>;

}  // namespace pyad
