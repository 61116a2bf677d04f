// native_threads [CALLS [THREADS]]: so many calls from each of so many threads (1000 from each of
// 8), over all entry points, each result compared bit by bit with that of one thread alone.
//
// Exit codes: 0 all equal, 1 some differ, 2 arguments that do not fit.
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <thread>

#include "../check.h"
#include "calls.h"
#include "pyad/level.h"
#include "pyad/parallel.h"

namespace {

std::vector<calls::Call> all_calls(int workers) {
    std::vector<calls::Call> all;
    for (const auto& some : {calls::picture_calls(), calls::bank_calls(), calls::map_calls(),
                             calls::network_calls(workers)})
        all.insert(all.end(), some.begin(), some.end());
    return all;
}

using Results = std::vector<std::vector<std::vector<calls::Result>>>;  // call, input, worker

// One thread, no pool, and plans and heads that nobody else has.
Results alone(int workers) {
    pyad::set_num_threads(1);
    Results results;
    for (const calls::Call& call : all_calls(workers)) {
        results.emplace_back(calls::kInputs);
        for (int i = 0; i < calls::kInputs; ++i)
            for (int w = 0; w < workers; ++w) results.back()[i].push_back(call.run(i, w));
    }
    return results;
}

}  // namespace

int main(int argc, char** argv) {
    const long count = argc > 1 ? std::atol(argv[1]) : 1000;
    const int workers = argc > 2 ? std::atoi(argv[2]) : 8;
    if (argc > 3 || count < 1 || workers < 1 || workers > 256) {
        std::fprintf(stderr, "native_threads [CALLS [THREADS]], each at least 1\n");
        return 2;
    }
    const Results expected = alone(workers);
    pyad::set_num_threads(3);
    const std::vector<calls::Call> shared = all_calls(workers);
    std::vector<std::atomic<long>> made(shared.size());
    std::atomic<long> different{0};
    const auto begin = std::chrono::steady_clock::now();
    std::vector<std::thread> threads;
    for (int w = 0; w < workers; ++w)
        threads.emplace_back([&, w] {
            check::Random random(static_cast<uint64_t>(w) + 1);
            for (long n = 0; n < count; ++n) {
                const auto c =
                    static_cast<size_t>(random.below(static_cast<int64_t>(shared.size())));
                const int i = static_cast<int>(random.below(calls::kInputs));
                ++made[c];
                try {
                    if (shared[c].run(i, w) == expected[c][i][w]) continue;
                    std::fprintf(stderr, "%s, input %d: other bits than alone\n",
                                 shared[c].name.c_str(), i);
                } catch (const std::exception& error) {
                    std::fprintf(stderr, "%s, input %d: %s\n", shared[c].name.c_str(), i,
                                 error.what());
                }
                ++different;
            }
        });
    for (std::thread& thread : threads) thread.join();
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    for (size_t c = 0; c < shared.size(); ++c)
        std::printf("%-26s %9ld calls\n", shared[c].name.c_str(), made[c].load());
    std::printf("level %s, %d threads of %ld calls: %ld calls, %ld differ, %.1f s\n",
                pyad::level_name(pyad::active_level()), workers, count, workers * count,
                different.load(), seconds.count());
    return different.load() ? 1 : 0;
}
