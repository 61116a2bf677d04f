// pyad/parallel.h: the pool under nested, concurrent, failing and forked calls.
#include "pyad/parallel.h"

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <stdexcept>
#include <thread>

#include "check.h"
#include "levels.h"

namespace {

// How often each of n places was visited, as a sum of squares: n where each was visited once.
int64_t visits(int64_t n, int64_t grain) {
    std::vector<int> seen(static_cast<size_t>(n), 0);
    pyad::parallel_for(n, grain, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) ++seen[i];
    });
    int64_t sum = 0;
    for (const int times : seen) sum += static_cast<int64_t>(times) * times;
    return sum;
}

}  // namespace

PYAD_TEST(every_place_is_visited_once) {
    for (const int threads : {1, 2, 3, 8}) {
        const check::Threads limit(threads);
        for (const int64_t n : {0, 1, 2, 7, 64, 1000, 10007})
            for (const int64_t grain : {1, 3, 64, 5000}) CHECK_EQ(visits(n, grain), n);
    }
}

PYAD_TEST(a_piece_is_never_longer_than_its_grain) {
    const check::Threads limit(4);
    std::atomic<int64_t> longest{0};
    pyad::parallel_for(1001, 10, [&](int64_t begin, int64_t end) {
        int64_t before = longest.load();
        while (end - begin > before && !longest.compare_exchange_weak(before, end - begin)) {
        }
    });
    CHECK(longest >= 1);
    CHECK(longest <= 10);
}

PYAD_TEST(calls_from_several_threads_and_nested_calls_finish) {
    const check::Threads limit(3);
    std::atomic<int64_t> total{0};
    std::vector<std::thread> callers;
    for (int caller = 0; caller < 6; ++caller)
        callers.emplace_back([&] {
            for (int round = 0; round < 20; ++round)
                pyad::parallel_for(16, 1, [&](int64_t begin, int64_t end) {
                    total += visits(100, 7) * (end - begin);
                });
        });
    for (std::thread& caller : callers) caller.join();
    CHECK_EQ(total.load(), 6 * 20 * 16 * 100);
}

PYAD_TEST(the_number_of_threads_changes_while_others_call) {
    const check::Threads limit(2);
    std::atomic<bool> done{false};
    std::atomic<int> wrong{0};
    std::thread caller([&] {
        while (!done) wrong += visits(500, 3) != 500;
    });
    for (int round = 0; round < 30; ++round) {
        pyad::set_num_threads(1 + round % 4);
        wrong += visits(300, 2) != 300;
    }
    done = true;
    caller.join();
    CHECK_EQ(wrong.load(), 0);
}

PYAD_TEST(an_exception_reaches_the_caller_after_all_pieces_ended) {
    const check::Threads limit(3);
    std::atomic<int> running{0};
    CHECK_THROWS(pyad::parallel_for(64, 1,
                                    [&](int64_t begin, int64_t) {
                                        ++running;
                                        std::this_thread::yield();
                                        --running;
                                        if (begin == 20) throw std::runtime_error("piece 20");
                                    }),
                 "piece 20");
    CHECK_EQ(running.load(), 0);
    CHECK_EQ(visits(64, 1), 64);
}

PYAD_TEST(thread_counts_outside_the_limits_are_refused) {
    CHECK_THROWS(pyad::set_num_threads(0), "1 to 1024");
    CHECK_THROWS(pyad::set_num_threads(1025), "1 to 1024");
}

// ThreadSanitizer does not allow threads in a child of a process that has threads.
#if !defined(__SANITIZE_THREAD__)
PYAD_TEST(a_forked_child_starts_a_pool_of_its_own) {
    if (std::getenv("PYAD_EMULATED"))
        return check::skip("qemu-user cannot start threads in a forked child");
    const check::Threads limit(3);
    CHECK_EQ(visits(1000, 1), 1000);  // the parent's pool is there
    const pid_t child = fork();
    if (child == 0) _exit(visits(1000, 1) == 1000 ? 0 : 1);
    int status = -1;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), 0);
    CHECK_EQ(visits(1000, 1), 1000);
}
#endif
