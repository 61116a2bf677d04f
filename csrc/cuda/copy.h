// Asynchronous copies from global to shared memory (cp.async, sm_80 and newer; plain copies on
// sm_75). Each thread: copy_async any number of times, commit_copies, and wait_copies<n> until all
// but its n youngest committed groups are there; a barrier then shows them to the other threads.
//
// The host puts a copy off until it is waited for, so a missing wait reads poison.
#pragma once

#include "block.h"

#ifndef __CUDACC__
#include <vector>
#endif

namespace pyad::cuda {

#ifndef __CUDACC__
struct PendingCopies {
    struct Copy {
        void* to;
        const void* from;
        int64_t group;
    };
    struct OfThread {
        std::vector<Copy> copies;
        int64_t committed = 0;
    };
    static std::vector<OfThread>& all() {
        thread_local std::vector<OfThread> threads(1024);
        return threads;
    }
};
#endif

// 16 bytes, both addresses aligned to them.
PYAD_DEVICE void copy_async(int t, void* to, const void* from) {
#ifdef __CUDACC__
    (void)t;
#if __CUDA_ARCH__ >= 800
    const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(to));
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(address), "l"(from) : "memory");
#else
    *static_cast<uint4*>(to) = *static_cast<const uint4*>(from);
#endif
#else
    auto& mine = PendingCopies::all()[t];
    mine.copies.push_back({to, from, mine.committed});
#endif
}

PYAD_DEVICE void commit_copies(int t) {
#ifdef __CUDACC__
    (void)t;
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
#else
    ++PendingCopies::all()[t].committed;
#endif
}

template <int n>
PYAD_DEVICE void wait_copies(int t) {
#ifdef __CUDACC__
    (void)t;
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" ::"n"(n) : "memory");
#endif
#else
    auto& mine = PendingCopies::all()[t];
    size_t kept = 0;
    for (const auto& copy : mine.copies) {
        if (copy.group < mine.committed - n)
            std::memcpy(copy.to, copy.from, 16);
        else
            mine.copies[kept++] = copy;
    }
    mine.copies.resize(kept);
#endif
}

}  // namespace pyad::cuda
