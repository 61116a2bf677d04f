// Lets the n-th allocation of one thread fail, in whatever library: preloaded. Python's own small
// objects come from its arenas and are not seen; NumPy, ONNX Runtime and the kernels are.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>

static _Thread_local int armed;
static int every_thread;
static atomic_int everywhere, calls;
static int fails_at, stays_full;
static size_t least;

static void* (*real_malloc)(size_t);
static void* (*real_calloc)(size_t, size_t);
static void* (*real_realloc)(void*, size_t);
static void* (*real_aligned)(size_t, size_t);
static void* (*real_memalign)(size_t, size_t);
static int (*real_posix)(void**, size_t, size_t);

// dlsym may call calloc before calloc is known; what it gets is never freed.
static char early[8192];
static size_t early_used;

static void look_up(void) {
    real_malloc = dlsym(RTLD_NEXT, "malloc");
    real_realloc = dlsym(RTLD_NEXT, "realloc");
    real_aligned = dlsym(RTLD_NEXT, "aligned_alloc");
    real_memalign = dlsym(RTLD_NEXT, "memalign");
    real_posix = dlsym(RTLD_NEXT, "posix_memalign");
    real_calloc = dlsym(RTLD_NEXT, "calloc");
}

static int fails(size_t size) {
    if (size < least) return 0;
    if (every_thread ? !atomic_load(&everywhere) : !armed) return 0;
    const int call = atomic_fetch_add(&calls, 1) + 1;
    if (call != fails_at && !(stays_full && fails_at && call > fails_at)) return 0;
    errno = ENOMEM;
    return 1;
}

void* malloc(size_t size) {
    if (!real_malloc) look_up();
    return fails(size) ? NULL : real_malloc(size);
}

void* calloc(size_t n, size_t size) {
    if (!real_calloc) {
        const size_t wanted = (n * size + 15) / 16 * 16;
        if (early_used + wanted > sizeof early) abort();
        early_used += wanted;
        return early + early_used - wanted;
    }
    return fails(n * size) ? NULL : real_calloc(n, size);
}

void* realloc(void* old, size_t size) {
    if (!real_realloc) look_up();
    return fails(size) ? NULL : real_realloc(old, size);
}

void* aligned_alloc(size_t alignment, size_t size) {
    if (!real_aligned) look_up();
    return fails(size) ? NULL : real_aligned(alignment, size);
}

void* memalign(size_t alignment, size_t size) {
    if (!real_memalign) look_up();
    return fails(size) ? NULL : real_memalign(alignment, size);
}

int posix_memalign(void** out, size_t alignment, size_t size) {
    if (!real_posix) look_up();
    return fails(size) ? ENOMEM : real_posix(out, alignment, size);
}

// From now on allocation `n` (from 1; 0: none) of at least `size` bytes fails: of this thread, or of
// `all`; with `onwards` every later one too.
void memory_arm(int n, size_t size, int all, int onwards) {
    fails_at = n, least = size, every_thread = all, stays_full = onwards;
    atomic_store(&calls, 0);
    atomic_store(&everywhere, all);
    armed = !all;
}

// Gives the number of allocations.
int memory_stop(void) {
    armed = 0;
    atomic_store(&everywhere, 0);
    return atomic_load(&calls);
}
