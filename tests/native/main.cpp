// Runs the native tests. `native_tests [part of a name or file]...`, `native_tests --list`.
//
// Exit codes: 0 all passed, 1 some failed, 2 nothing matched.
#include <atomic>
#include <chrono>
#include <cstdio>
#include <exception>
#include <mutex>

#include "check.h"
#include "pyad/level.h"

namespace check {
namespace {

constexpr int kShown = 8;  // failures printed per test
std::mutex printing;       // checks are also made by threads
std::atomic<int> failures{0};
std::atomic<long> checks{0};
std::string skipped;

std::string stem(const char* file) {
    const std::string path(file);
    const size_t slash = path.rfind('/');
    return path.substr(slash + 1, path.rfind('.') - slash - 1);
}

}  // namespace

std::vector<Test>& tests() {
    static std::vector<Test> all;
    return all;
}

void count() { ++checks; }

void fail(const char* file, int line, const std::string& what) {
    if (failures++ >= kShown) return;
    const std::lock_guard<std::mutex> lock(printing);
    std::printf("%s:%d: %s\n", file, line, what.c_str());
}

void skip(const std::string& why) {
    const std::lock_guard<std::mutex> lock(printing);
    skipped = why;
}

namespace {

// Runs one test; true where it passed.
bool run(const Test& test, const std::string& full) {
    failures = 0;
    checks = 0;
    skipped.clear();
    const auto begin = std::chrono::steady_clock::now();
    try {
        test.body();
    } catch (const std::exception& error) {
        fail(test.file, 0, std::string("threw ") + error.what());
    }
    if (checks == 0 && skipped.empty()) fail(test.file, 0, "checked nothing");
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    const char* verdict = failures ? "FAILED" : checks == 0 ? "skipped" : "passed";
    std::printf("%-7s %-72s %7ld checks %7.2f s%s%s\n", verdict, full.c_str(), checks.load(),
                seconds.count(), skipped.empty() ? "" : "  ", skipped.c_str());
    if (failures > kShown) std::printf("        %d failures in all\n", failures.load());
    std::fflush(stdout);
    return failures == 0;
}

}  // namespace
}  // namespace check

int main(int argc, char** argv) {
    using namespace check;
    const bool list = argc == 2 && std::string(argv[1]) == "--list";
    int ran = 0, failed = 0;
    if (!list) {
        std::string levels;
        for (const pyad::Level level : pyad::available_levels())
            levels += std::string(" ") + pyad::level_name(level);
        std::printf("CPU levels:%s\n", levels.c_str());
    }
    for (const Test& test : tests()) {
        const std::string full = stem(test.file) + "." + test.name;
        bool wanted = argc == 1 || list;
        for (int i = 1; i < argc; ++i) wanted |= full.find(argv[i]) != std::string::npos;
        if (!wanted) continue;
        ++ran;
        if (list)
            std::printf("%s\n", full.c_str());
        else
            failed += !run(test, full);
    }
    if (!list) std::printf("%d of %d native tests failed\n", failed, ran);
    if (ran == 0) std::printf("no test's name holds what was asked for; see --list\n");
    return ran == 0 ? 2 : failed ? 1 : 0;
}
