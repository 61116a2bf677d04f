// CRC-32 of the bits of results. The tests hold the values that every architecture must give for
// the same integer-made inputs: that is how x86 and Arm are held to the same results.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace check {

class Digest {
  public:
    template <typename T>
    Digest& add(const T* values, int64_t n) {
        for (int64_t i = 0; i < n; ++i) {
            unsigned char bytes[sizeof(T)];  // little-endian on every machine that is served
            std::memcpy(bytes, values + i, sizeof(T));
            for (const unsigned char byte : bytes) step(byte);
        }
        return *this;
    }
    uint32_t value() const { return ~state_; }

  private:
    void step(unsigned char byte) {
        state_ ^= byte;
        for (int bit = 0; bit < 8; ++bit)
            state_ = (state_ >> 1) ^ (0xEDB88320u & (0u - (state_ & 1u)));
    }
    uint32_t state_ = ~0u;
};

}  // namespace check
