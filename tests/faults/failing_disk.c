// Lets the n-th call that touches a folder fail with a given errno: preloaded, so that Python, NumPy
// and Rust (safetensors) are all seen. Descriptors opened in the folder count as touching it.
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

enum { kKept = 512, kDescriptors = 4096 };

static char folder[4096];
static atomic_int armed, calls;
static int fails_at, fails_with, stays_broken;
static const char* names[kKept];
static atomic_char ours[kDescriptors];

static int inside(const char* path) {
    return atomic_load(&armed) && path && strncmp(path, folder, strlen(folder)) == 0;
}

static int opened(int descriptor) {
    return atomic_load(&armed) && descriptor >= 0 && descriptor < kDescriptors &&
           atomic_load(&ours[descriptor]);
}

// Counts a call; true if it has to fail, with errno set.
static int fails(const char* name) {
    const int call = atomic_fetch_add(&calls, 1) + 1;
    if (call <= kKept) names[call - 1] = name;
    if (call != fails_at && !(stays_broken && fails_at && call > fails_at)) return 0;
    errno = fails_with;
    return 1;
}

static int keep(int descriptor) {
    if (descriptor >= 0 && descriptor < kDescriptors) atomic_store(&ours[descriptor], 1);
    return descriptor;
}

#define REAL(name, result, ...)                                       \
    static result (*real)(__VA_ARGS__);                               \
    if (!real) real = (result(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name)

#define OPEN(name)                                                    \
    int name(const char* path, int flags, ...) {                      \
        REAL(name, int, const char*, int, ...);                       \
        va_list rest;                                                 \
        va_start(rest, flags);                                        \
        const mode_t mode = va_arg(rest, mode_t);                     \
        va_end(rest);                                                 \
        if (!inside(path)) return real(path, flags, mode);            \
        return fails("open") ? -1 : keep(real(path, flags, mode));    \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                        \
    int name(int at, const char* path, int flags, ...) {                    \
        REAL(name, int, int, const char*, int, ...);                        \
        va_list rest;                                                       \
        va_start(rest, flags);                                              \
        const mode_t mode = va_arg(rest, mode_t);                           \
        va_end(rest);                                                       \
        if (!inside(path)) return real(at, path, flags, mode);              \
        return fails("open") ? -1 : keep(real(at, path, flags, mode));      \
    }
OPENAT(openat)
OPENAT(openat64)

// By path.
#define PATH1(name, word, result, failed)                     \
    result name(const char* path) {                           \
        REAL(name, result, const char*);                      \
        return inside(path) && fails(word) ? failed : real(path); \
    }
PATH1(unlink, "unlink", int, -1)
PATH1(opendir, "opendir", DIR*, NULL)

#define PATH2(name, word, type)                                          \
    int name(const char* path, type other) {                             \
        REAL(name, int, const char*, type);                              \
        return inside(path) && fails(word) ? -1 : real(path, other);     \
    }
PATH2(rename, "rename", const char*)
PATH2(link, "link", const char*)
PATH2(mkdir, "mkdir", mode_t)
PATH2(chmod, "chmod", mode_t)
PATH2(stat, "stat", struct stat*)
PATH2(lstat, "stat", struct stat*)
PATH2(stat64, "stat", struct stat64*)
PATH2(lstat64, "stat", struct stat64*)

// By descriptor.
#define BYTES(name, word, pointer)                                                   \
    ssize_t name(int descriptor, pointer data, size_t size) {                        \
        REAL(name, ssize_t, int, pointer, size_t);                                   \
        return opened(descriptor) && fails(word) ? -1 : real(descriptor, data, size); \
    }
BYTES(write, "write", const void*)
BYTES(read, "read", void*)

// Nobody pulls the plug here, and a real flush takes most of the time.
#define FLUSH(name)                                       \
    int name(int descriptor) {                            \
        REAL(name, int, int);                             \
        if (!opened(descriptor)) return real(descriptor); \
        return fails(#name) ? -1 : 0;                     \
    }
FLUSH(fsync)
FLUSH(fdatasync)

#define DESCRIPTOR2(name, word, type)                                              \
    int name(int descriptor, type other) {                                         \
        REAL(name, int, int, type);                                                \
        return opened(descriptor) && fails(word) ? -1 : real(descriptor, other);   \
    }
DESCRIPTOR2(ftruncate, "ftruncate", off_t)
DESCRIPTOR2(ftruncate64, "ftruncate", off64_t)
DESCRIPTOR2(flock, "flock", int)
DESCRIPTOR2(fstat, "fstat", struct stat*)
DESCRIPTOR2(fstat64, "fstat", struct stat64*)

int close(int descriptor) {  // a close that fails has closed all the same
    REAL(close, int, int);
    const int failing = opened(descriptor) && fails("close");
    const int code = errno;
    if (descriptor >= 0 && descriptor < kDescriptors) atomic_store(&ours[descriptor], 0);
    const int result = real(descriptor);
    if (!failing) return result;
    errno = code;
    return -1;
}

// From now on call `n` (from 1; 0: none) under `path` fails with `code`, with `onwards` all later too.
void disk_arm(const char* path, int n, int code, int onwards) {
    strncpy(folder, path, sizeof folder - 1);
    fails_at = n, fails_with = code, stays_broken = onwards;
    atomic_store(&calls, 0);
    atomic_store(&armed, 1);
}

// Gives the number of calls.
int disk_stop(void) {
    atomic_store(&armed, 0);
    return atomic_load(&calls);
}

// Empty for one that never came.
const char* disk_name(int call) {
    return call >= 1 && call <= kKept && names[call - 1] ? names[call - 1] : "";
}
