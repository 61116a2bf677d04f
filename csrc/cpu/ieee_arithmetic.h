// Float arithmetic as the contracts define it, whatever the calling thread has switched on.
#pragma once

#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

namespace pyad {

// While it lives, subnormal numbers are kept on this thread: other libraries set flush-to-zero for
// theirs, and a result must not depend on which thread computed it.
class IeeeArithmetic {
  public:
#if defined(__SSE2__)
    IeeeArithmetic() : saved_(_mm_getcsr()) { _mm_setcsr(saved_ & ~kFlush); }
    ~IeeeArithmetic() { _mm_setcsr(saved_); }
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
#endif
};

}  // namespace pyad
