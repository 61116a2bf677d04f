// Walks the CPU levels of this machine, and threads.
#pragma once

#include <string>

#include "pyad/level.h"
#include "pyad/parallel.h"

namespace check {

// Calls body(level) at each level that this machine has, then goes back to the one before.
template <typename Body>
void at_each_level(Body&& body) {
    const pyad::Level before = pyad::active_level();
    for (const pyad::Level level : pyad::available_levels()) {
        pyad::set_level(pyad::level_name(level));
        body(level);
    }
    pyad::set_level(pyad::level_name(before));
}

// Sets a number of threads while it lives.
class Threads {
  public:
    explicit Threads(int n) : before_(pyad::num_threads()) { pyad::set_num_threads(n); }
    ~Threads() { pyad::set_num_threads(before_); }
    Threads(const Threads&) = delete;
    Threads& operator=(const Threads&) = delete;

  private:
    int before_;
};

}  // namespace check
