// Calls a function when a scope ends, however it ends.
#pragma once

namespace pyad {
namespace {

class Leave {
  public:
    explicit Leave(void (*function)()) : function_(function) {}
    ~Leave() {
        if (function_) function_();
    }
    Leave(const Leave&) = delete;
    Leave& operator=(const Leave&) = delete;

  private:
    void (*function_)();
};

}  // namespace
}  // namespace pyad
