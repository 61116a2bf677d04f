// The targets under libFuzzer: native_fuzz --target=NAME [libFuzzer's arguments].
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "target.h"

namespace {

fuzz::Target* chosen = nullptr;

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
    constexpr const char* flag = "--target=";  // libFuzzer leaves arguments with two dashes alone
    for (int i = 1; i < *argc; ++i)
        if (std::strncmp((*argv)[i], flag, std::strlen(flag)) == 0)
            chosen = fuzz::target_of((*argv)[i] + std::strlen(flag));
    if (!chosen) {
        std::printf("expected --target= with one of %s\n", fuzz::names().c_str());
        std::exit(2);
    }
    std::atexit([] { std::printf("%s: %s\n", chosen->name.c_str(), tally(*chosen).c_str()); });
    return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    fuzz::execute(*chosen, data, size);
    return 0;
}
