#include "pyad/ceiling.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <functional>
#include <stdexcept>

#include "ceiling_loops.h"
#include "pyad/level.h"
#include "pyad/parallel.h"

namespace pyad {
namespace {

constexpr int kTries = 8;
constexpr double kSeconds = 0.01;  // of one try

using Work = std::function<void(int64_t thread, int64_t rounds)>;

double seconds_of(int64_t rounds, const Work& work) {
    const auto begin = std::chrono::steady_clock::now();
    parallel_for(num_threads(), 1, [&](int64_t thread, int64_t) { work(thread, rounds); });
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

// Rounds a second and thread, the best of several tries, each long enough for the threads to start.
double best_rate(const Work& work) {
    int64_t rounds = 1;
    while (rounds < (int64_t{1} << 40) && seconds_of(rounds, work) < kSeconds) rounds *= 2;
    double best = 0;
    for (int i = 0; i < kTries; ++i)
        best = std::max(best, static_cast<double>(rounds) / seconds_of(rounds, work));
    return best;
}

std::vector<CeilingLoop> loops() {
    std::vector<CeilingLoop> found{ceiling_fma_portable};
#ifdef PYAD_X86_LEVELS
    for (const CeilingLoop& loop : {ceiling_fma_avx2, ceiling_fma_avx512, ceiling_int8_avx512vnni,
                                    ceiling_int8_amx, ceiling_bf16_amx})
        if (loop.runs()) found.push_back(loop);
#endif
#ifdef PYAD_AVX_VNNI_LEVEL
    if (ceiling_int8_avx2vnni.runs()) found.push_back(ceiling_int8_avx2vnni);
#endif
    return found;
}

ReadLoop widest_read() {
#ifdef PYAD_X86_LEVELS
    if (ceiling_fma_avx512.runs()) return read_avx512;
    if (ceiling_fma_avx2.runs()) return read_avx2;
#endif
    return read_portable;
}

int64_t part_of(int64_t bytes) {
    return std::max<int64_t>(4096, bytes / num_threads() / 4096 * 4096);
}

}  // namespace

std::vector<std::string> peak_names() {
    std::vector<std::string> names;
    for (const CeilingLoop& loop : loops()) names.emplace_back(loop.name);
    return names;
}

double peak_rate(const std::string& name) {
    for (const CeilingLoop& loop : loops())
        if (name == loop.name)
            return num_threads() * loop.operations *
                   best_rate([&](int64_t, int64_t rounds) { loop.loop(rounds); });
    throw std::invalid_argument("[peak_rate] this machine has no peak named '" + name +
                                "'; peak_names() lists those that it has.");
}

double read_rate(int64_t bytes) {
    const int64_t part = part_of(bytes);
    std::vector<std::vector<char>> sets(num_threads(), std::vector<char>(part, 1));
    const ReadLoop read = widest_read();
    const Work work = [&](int64_t thread, int64_t rounds) {
        volatile uint64_t sink = 0;
        for (int64_t i = 0; i < rounds; ++i) sink = sink + read(sets[thread].data(), part);
    };
    return static_cast<double>(num_threads()) * part * best_rate(work);
}

double copy_rate(int64_t bytes) {
    const int64_t half = std::max<int64_t>(2048, part_of(bytes) / 2);
    std::vector<std::vector<char>> sets(num_threads(), std::vector<char>(2 * half, 1));
    const Work work = [&](int64_t thread, int64_t rounds) {
        char* data = sets[thread].data();
        for (int64_t i = 0; i < rounds; ++i) {
            std::memcpy(data + half, data, half);
            // A copy that nobody reads may not be left out.
            asm volatile("" : : "r"(data) : "memory");
        }
    };
    return 2.0 * num_threads() * half * best_rate(work);
}

}  // namespace pyad
