// The targets without libFuzzer, under any compiler's sanitizers: every input of the corpus, then
// seeded random inputs, half of them made of one of these.
//
//   native_replay CORPUS [--target=NAME] [--runs=N] [--seed=S]
//
// Exit codes: 0 nothing found, 1 a fault (its input is in fault.bin), 2 arguments that do not fit.
#include <chrono>
#include <cstdio>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <string>

#include "../check.h"
#include "target.h"

extern "C" void __sanitizer_set_death_callback(void (*callback)()) __attribute__((weak));

namespace {

using Input = std::vector<uint8_t>;

Input current;  // what to blame where the process dies

void keep_current() {
    std::ofstream("fault.bin", std::ios::binary)
        .write(reinterpret_cast<const char*>(current.data()),
               static_cast<std::streamsize>(current.size()));
    std::fprintf(stderr, "the input is in fault.bin, %zu bytes\n", current.size());
}

// The inputs of a file of corpus.py; none where there is no such file.
std::vector<Input> corpus_of(const std::filesystem::path& path) {
    std::vector<Input> all;
    std::ifstream file(path);
    for (std::string line; file >> line;) {
        Input input;
        for (size_t i = 0; i + 1 < line.size(); i += 2)
            input.push_back(static_cast<uint8_t>(std::stoul(line.substr(i, 2), nullptr, 16)));
        all.push_back(std::move(input));
    }
    return all;
}

Input random_input(const std::vector<Input>& corpus, check::Random& random) {
    Input input;
    if (!corpus.empty() && random.below(2))
        input = corpus[random.below(static_cast<int64_t>(corpus.size()))];
    else
        input.resize(random.below(128));
    const bool fresh = corpus.empty() || random.below(4) == 0;
    for (uint8_t& byte : input)
        if (fresh || random.below(16) == 0) byte = static_cast<uint8_t>(random.below(256));
    if (!input.empty() && random.below(8) == 0) input.resize(random.below(input.size()));
    return input;
}

bool run(fuzz::Target& target, const Input& input) {
    current = input;
    try {
        fuzz::execute(target, input.data(), input.size());
        return true;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s: %s\n", target.name.c_str(), error.what());
    } catch (const fuzz::Broken&) {
    }
    keep_current();
    return false;
}

const char* value_of(const char* argument, const char* flag) {
    const size_t n = std::strlen(flag);
    return std::strncmp(argument, flag, n) == 0 ? argument + n : nullptr;
}

}  // namespace

int main(int argc, char** argv) {
    std::string folder, only;
    int64_t runs = 1000, seed = 7;
    for (int i = 1; i < argc; ++i) {
        if (const char* name = value_of(argv[i], "--target="))
            only = name;
        else if (const char* count = value_of(argv[i], "--runs="))
            runs = std::atoll(count);
        else if (const char* start = value_of(argv[i], "--seed="))
            seed = std::atoll(start);
        else
            folder = argv[i];
    }
    if (folder.empty() || (!only.empty() && !fuzz::target_of(only))) {
        std::fprintf(stderr,
                     "native_replay CORPUS [--target=NAME] [--runs=N] [--seed=S], NAME one of %s\n",
                     fuzz::names().c_str());
        return 2;
    }
    if (__sanitizer_set_death_callback) __sanitizer_set_death_callback(keep_current);
    for (fuzz::Target& target : fuzz::targets()) {
        if (!only.empty() && target.name != only) continue;
        const auto begin = std::chrono::steady_clock::now();
        const std::vector<Input> corpus =
            corpus_of(std::filesystem::path(folder) / (target.name + ".hex"));
        bool sound = true;
        for (const Input& input : corpus) sound = sound && run(target, input);
        check::Random random(static_cast<uint64_t>(seed));
        for (int64_t i = 0; i < runs && sound; ++i)
            sound = run(target, random_input(corpus, random));
        const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
        std::printf("%s: %s, %zu of the corpus, %.2f s\n", target.name.c_str(),
                    tally(target).c_str(), corpus.size(), seconds.count());
        std::fflush(stdout);
        if (!sound) return 1;
    }
    return 0;
}
