// Counts allocations of a kilobyte and more between count_start() and count_stop(), in the whole
// process: preloaded, so that NumPy, OpenCV, ONNX Runtime and the kernels are all seen.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { kLeast = 1024, kKept = 64, kDepth = 24 };

static atomic_int counting, calls;
static atomic_long bytes;
static size_t sizes[kKept];
static void* traces[kKept][kDepth];
static int depths[kKept];
static _Thread_local int inside;  // backtrace() may allocate

static void* (*real_malloc)(size_t);
static void* (*real_calloc)(size_t, size_t);
static void* (*real_realloc)(void*, size_t);
static void* (*real_aligned)(size_t, size_t);
static void* (*real_memalign)(size_t, size_t);
static int (*real_posix)(void**, size_t, size_t);
static void* (*real_mmap)(void*, size_t, int, int, int, off_t);

// dlsym may call calloc before calloc is known; what it gets is never freed.
static char early[8192];
static size_t early_used;

static void look_up(void) {
    real_malloc = dlsym(RTLD_NEXT, "malloc");
    real_realloc = dlsym(RTLD_NEXT, "realloc");
    real_aligned = dlsym(RTLD_NEXT, "aligned_alloc");
    real_memalign = dlsym(RTLD_NEXT, "memalign");
    real_posix = dlsym(RTLD_NEXT, "posix_memalign");
    real_mmap = dlsym(RTLD_NEXT, "mmap");
    real_calloc = dlsym(RTLD_NEXT, "calloc");
}

static void note(size_t size) {
    if (size < kLeast || !atomic_load(&counting) || inside) return;
    inside = 1;
    const int at = atomic_fetch_add(&calls, 1);
    atomic_fetch_add(&bytes, (long)size);
    if (at < kKept) {
        sizes[at] = size;
        depths[at] = backtrace(traces[at], kDepth);
    }
    inside = 0;
}

void* malloc(size_t size) {
    if (!real_malloc) look_up();
    note(size);
    return real_malloc(size);
}

void* calloc(size_t n, size_t size) {
    if (!real_calloc) {
        const size_t wanted = (n * size + 15) / 16 * 16;
        if (early_used + wanted > sizeof early) abort();
        early_used += wanted;
        return early + early_used - wanted;
    }
    note(n * size);
    return real_calloc(n, size);
}

void* realloc(void* old, size_t size) {
    if (!real_realloc) look_up();
    note(size);
    return real_realloc(old, size);
}

void* aligned_alloc(size_t alignment, size_t size) {
    if (!real_aligned) look_up();
    note(size);
    return real_aligned(alignment, size);
}

void* memalign(size_t alignment, size_t size) {
    if (!real_memalign) look_up();
    note(size);
    return real_memalign(alignment, size);
}

int posix_memalign(void** out, size_t alignment, size_t size) {
    if (!real_posix) look_up();
    note(size);
    return real_posix(out, alignment, size);
}

void* mmap(void* at, size_t size, int protection, int flags, int file, off_t offset) {
    if (!real_mmap) look_up();
    note(size);
    return real_mmap(at, size, protection, flags, file, offset);
}

void count_start(void) {
    void* warm[1];
    backtrace(warm, 1);  // loads libgcc now
    atomic_store(&calls, 0);
    atomic_store(&bytes, 0);
    atomic_store(&counting, 1);
}

// Stops; gives the number of allocations.
int count_stop(void) {
    atomic_store(&counting, 0);
    return atomic_load(&calls);
}

// Size of allocation i and, where `names` is given, the objects and symbols that led to it.
size_t count_size(int i) { return i < kKept ? sizes[i] : 0; }

void count_trace(int i) {
    if (i < kKept) backtrace_symbols_fd(traces[i], depths[i], 2);
}
