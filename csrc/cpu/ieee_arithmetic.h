// Float arithmetic as the contracts define it, whatever the calling thread has switched on.
#pragma once

#if defined(__SSE2__)
#include <xmmintrin.h>
#elif defined(__aarch64__)
#include <cstdint>
#endif

namespace pyad {

// While it lives, subnormal numbers are kept on this thread: other libraries set flush-to-zero for
// theirs, and a result must not depend on which thread computed it.
class IeeeArithmetic {
  public:
#if defined(__SSE2__)
    IeeeArithmetic() : saved_(_mm_getcsr()) { _mm_setcsr(saved_ & ~kFlush); }
    ~IeeeArithmetic() { _mm_setcsr(saved_); }
#elif defined(__aarch64__)
    IeeeArithmetic() {
        __asm__ volatile("mrs %0, fpcr" : "=r"(saved_));
        write(saved_ & ~kFlush);
    }
    ~IeeeArithmetic() { write(saved_); }
#else
    IeeeArithmetic() {}
    ~IeeeArithmetic() {}
#endif
    IeeeArithmetic(const IeeeArithmetic&) = delete;
    IeeeArithmetic& operator=(const IeeeArithmetic&) = delete;

  private:
#if defined(__SSE2__)
    static constexpr unsigned kFlush = 0x8040;  // flush to zero, denormals are zero
    unsigned saved_;
#elif defined(__aarch64__)
    // "memory": no load, store or call may move across; what computes with them stays inside.
    static void write(uint64_t fpcr) { __asm__ volatile("msr fpcr, %0" : : "r"(fpcr) : "memory"); }
    static constexpr uint64_t kFlush = uint64_t{1} << 24;  // FZ
    uint64_t saved_;
#endif
};

}  // namespace pyad
