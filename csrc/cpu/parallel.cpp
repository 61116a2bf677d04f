#include "pyad/parallel.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "ieee_arithmetic.h"

#ifdef __linux__
#include <sched.h>
#endif
#ifndef _WIN32
#include <pthread.h>
#endif

namespace pyad {
namespace {

int usable_cores() {
#ifdef __linux__
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof(set), &set) == 0) return std::max(1, CPU_COUNT(&set));
#endif
    return std::max(1u, std::thread::hardware_concurrency());
}

// One call of parallel_for. A worker that wakes late finds no piece left and never touches the
// body, so the caller waits for pieces, not for workers: on a busy machine a sleeping worker delays
// nobody.
struct Job {
    Job(int64_t n, int64_t grain, const std::function<void(int64_t, int64_t)>& body)
        : n(n), grain(grain), body(&body), left((n + grain - 1) / grain) {}

    void drain() {
        const IeeeArithmetic arithmetic;
        for (;;) {
            const int64_t begin = next.fetch_add(grain);
            if (begin >= n) return;
            std::exception_ptr thrown;
            try {
                (*body)(begin, std::min(n, begin + grain));
            } catch (...) {
                thrown = std::current_exception();
            }
            std::lock_guard<std::mutex> lock(mutex);
            if (thrown && !error) error = thrown;
            if (--left == 0) done.notify_one();
        }
    }

    void wait() {
        std::unique_lock<std::mutex> lock(mutex);
        done.wait(lock, [this] { return left == 0; });
        if (error) std::rethrow_exception(error);
    }

    const int64_t n, grain;
    const std::function<void(int64_t, int64_t)>* const body;
    std::atomic<int64_t> next{0};
    std::mutex mutex;
    std::condition_variable done;
    int64_t left;
    std::exception_ptr error;
};

class Pool {
  public:
    explicit Pool(int threads) : threads_(threads) {
        try {
            for (int i = 1; i < threads; ++i) workers_.emplace_back([this] { work(); });
        } catch (const std::exception& error) {
            stop();  // those that did start must not outlive what they wait on
            throw std::runtime_error("[threads] the system refused to start " +
                                     std::to_string(threads - 1) + " kernel threads (" +
                                     error.what() + "). Use fewer: set_num_threads, or --threads.");
        }
    }

    ~Pool() { stop(); }

    int threads() const { return threads_; }

    void run(int64_t n, int64_t grain, const std::function<void(int64_t, int64_t)>& body) {
        const auto job = std::make_shared<Job>(n, grain, body);
        const int64_t helpers =
            job->left - 1;  // no more workers than pieces that the caller leaves them
        {
            std::lock_guard<std::mutex> lock(mutex_);
            job_ = job;
            ++generation_;
        }
        if (helpers < static_cast<int64_t>(workers_.size())) {
            for (int64_t i = 0; i < helpers; ++i) wake_.notify_one();
        } else {
            wake_.notify_all();
        }
        job->drain();
        job->wait();
    }

  private:
    void stop() {
        {
            std::lock_guard<std::mutex> lock(mutex_);
            stopping_ = true;
        }
        wake_.notify_all();
        for (auto& worker : workers_) worker.join();
        workers_.clear();
    }

    void work() {
        uint64_t seen = 0;
        for (;;) {
            std::shared_ptr<Job> job;
            {
                std::unique_lock<std::mutex> lock(mutex_);
                wake_.wait(lock, [&] { return stopping_ || generation_ != seen; });
                if (stopping_) return;
                seen = generation_;
                job = job_;
            }
            job->drain();
        }
    }

    const int threads_;
    std::mutex mutex_;
    std::condition_variable wake_;
    bool stopping_ = false;
    uint64_t generation_ = 0;
    std::shared_ptr<Job> job_;
    std::vector<std::thread> workers_;
};

std::atomic<int> requested_threads{0};
// Never destroyed: worker threads may outlive static destructors.
std::mutex* pool_mutex = new std::mutex;
Pool* pool = nullptr;
thread_local bool inside = false;  // a nested call must not try the lock that this thread holds

// A forked child has none of its parent's threads, and the lock may have been held by one of them:
// both are left behind, and the child starts anew.
[[maybe_unused]] const bool forks_start_anew = [] {
#ifndef _WIN32
    pthread_atfork(nullptr, nullptr, [] {
        pool_mutex = new std::mutex;
        pool = nullptr;
        inside = false;
    });
#endif
    return true;
}();

}  // namespace

int num_threads() {
    int n = requested_threads.load();
    if (n == 0) {
        n = usable_cores();
        requested_threads.store(n);
    }
    return n;
}

void set_num_threads(int n) {
    if (n < 1 || n > 1024)
        throw std::invalid_argument("[set_num_threads] expected 1 to 1024 threads, got " +
                                    std::to_string(n) + ".");
    requested_threads.store(n);
}

void parallel_for(int64_t n, int64_t grain, const std::function<void(int64_t, int64_t)>& body) {
    if (n <= 0) return;
    grain = std::max<int64_t>(1, grain);
    const int threads = num_threads();
    if (threads > 1 && n > grain && !inside) {
        std::unique_lock<std::mutex> lock(*pool_mutex, std::try_to_lock);
        if (lock.owns_lock()) {
            if (pool && pool->threads() != threads) {
                delete pool;
                pool = nullptr;
            }
            if (!pool) pool = new Pool(threads);
            struct Inside {
                Inside() { inside = true; }
                ~Inside() { inside = false; }
            } guard;
            pool->run(n, grain, body);
            return;
        }
    }
    const IeeeArithmetic arithmetic;
    for (int64_t begin = 0; begin < n; begin += grain) body(begin, std::min(n, begin + grain));
}

}  // namespace pyad
