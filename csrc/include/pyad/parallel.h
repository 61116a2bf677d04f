// Threads of the CPU kernels: one pool per process, sleeping between calls.
//
// A call made while the pool is busy (another Python thread, or a nested call) runs on its own
// thread: results never depend on the number of threads, so only time differs. A forked child
// starts a pool of its own at its first call.
#pragma once

#include <cstdint>
#include <functional>

namespace pyad {

// Threads used by later calls, the calling thread included. Starts as the number of usable cores.
int num_threads();

// Sets that number; 1 runs everything on the caller. Throws std::invalid_argument unless 1 <= n <=
// 1024.
void set_num_threads(int n);

// Calls body(begin, end) over pieces of [0, n), each at most `grain` long, in any order, at once on
// several threads. The first exception thrown by a body is rethrown here after all pieces ended.
void parallel_for(int64_t n, int64_t grain, const std::function<void(int64_t, int64_t)>& body);

}  // namespace pyad
