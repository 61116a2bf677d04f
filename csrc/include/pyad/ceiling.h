// What this machine can do at most: the bounds that benchmarks divide by.
//
// A peak is a loop of one kind of instruction on registers alone, long enough for a clock, on all
// kernel threads at once; an operation is a multiplication or an addition, so a fused pair is two.
// Names are "<arithmetic>.<instruction set>", e.g. "fma.avx512" (float32), "int8.avx512vnni",
// "bf16.amx". Rates of memory are those of a working set, read or copied again and again, each
// thread having its own part of it: sets that fit a cache show that cache.
//
// Limits: rates hold for the moment and the clock speed of their measurement; a busy machine shows
// less. Each call takes some tens of milliseconds.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace pyad {

// Names of the peaks that this machine can run.
std::vector<std::string> peak_names();

// Operations a second on num_threads() threads, the best of several tries. Throws
// std::invalid_argument for a name that is not one of peak_names().
double peak_rate(const std::string& name);

// Bytes read a second from a working set of so many bytes (at least 4096 a thread).
double read_rate(int64_t bytes);

// Bytes read and written a second when one half of a working set is copied to the other.
double copy_rate(int64_t bytes);

}  // namespace pyad
