// What several threads call at once: entry points that Runtime uses, on plans, banks, heads and
// networks that all of them share.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace calls {

constexpr int kInputs = 4;  // of each entry point; neighbours in time have different ones

// The bits of everything that a call gave.
class Result {
  public:
    template <typename T>
    Result& add(const std::vector<T>& values) {
        const auto* bytes = reinterpret_cast<const unsigned char*>(values.data());
        bits_.insert(bits_.end(), bytes, bytes + values.size() * sizeof(T));
        return *this;
    }
    bool operator==(const Result& other) const { return bits_ == other.bits_; }
    bool operator!=(const Result& other) const { return bits_ != other.bits_; }
    size_t size() const { return bits_.size(); }

  private:
    std::vector<unsigned char> bits_;
};

struct Call {
    std::string name;
    // Input i, called by worker w; what belongs to one worker alone is kept by its number.
    std::function<Result(int i, int w)> run;
};

// Each makes its inputs and what is shared, the same every time.
std::vector<Call> picture_calls();
std::vector<Call> bank_calls();
std::vector<Call> map_calls();
std::vector<Call> network_calls(int workers);

}  // namespace calls
