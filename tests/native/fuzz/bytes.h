// Bytes of the fuzzer to arguments: sizes that fit, sizes that no array has, values of every kind,
// and arrays of exactly the promised size, so that AddressSanitizer sees the first byte beside one.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <vector>

namespace fuzz {

// n elements that end where their allocation ends. They begin up to 15 elements behind its begin:
// an array of NumPy may start at any element, and a kernel must not count on more.
template <typename T>
class Exact {
  public:
    explicit Exact(int64_t n = 0, int64_t shift = 0)
        : n_(n), base_(static_cast<T*>(std::malloc(static_cast<size_t>(n + shift) * sizeof(T)))) {
        if (!base_ && n + shift > 0) throw std::bad_alloc();
        data_ = base_ + shift;
        if (n > 0) std::memset(static_cast<void*>(data_), 0xCD, static_cast<size_t>(n) * sizeof(T));
    }
    Exact(Exact&& other) noexcept : n_(other.n_), base_(other.base_), data_(other.data_) {
        other.base_ = other.data_ = nullptr;
        other.n_ = 0;
    }
    Exact(const Exact&) = delete;
    Exact& operator=(const Exact&) = delete;
    ~Exact() { std::free(base_); }

    T* data() { return data_; }
    const T* data() const { return data_; }
    int64_t size() const { return n_; }
    T& operator[](int64_t i) { return data_[i]; }
    const T& operator[](int64_t i) const { return data_[i]; }
    std::vector<T> copy() const { return std::vector<T>(data_, data_ + n_); }

  private:
    int64_t n_;
    T *base_, *data_;
};

// Reads an input from its begin. What comes after its end is made of a hash of it: every input is
// long enough for every argument, and says the same each time.
class Bytes {
  public:
    Bytes(const uint8_t* data, size_t size);

    uint64_t bits(int bytes);
    // 0 <= result < n.
    int64_t below(int64_t n);
    // low <= result <= high.
    int64_t within(int64_t low, int64_t high) { return low + below(high - low + 1); }
    bool one_in(int64_t n) { return below(n) == n - 1; }
    // A size from low to high, small ones and those next to a vector's width more often.
    int64_t size(int64_t low, int64_t high);
    // A whole number of any size: what no array has, or what is one too many.
    int64_t hostile();
    // Finite or not, of any magnitude.
    float number();
    float finite();

    // n values in one of several styles; all of them finite where asked for.
    Exact<float> floats(int64_t n, bool finite = false);
    // n whole numbers from low to high, and in few arrays some of any size.
    template <typename T>
    Exact<T> wholes(int64_t n, int64_t low, int64_t high, bool hostiles = false) {
        Exact<T> out(n, below(4));
        const bool any = hostiles && one_in(8);
        for (int64_t i = 0; i < n; ++i)
            out[i] = static_cast<T>(any && one_in(4) ? hostile() : within(low, high));
        return out;
    }

  private:
    uint64_t generated();

    const uint8_t *at_, *end_;
    uint64_t state_;
};

// A fault that no sanitizer would see; not caught, so that the fuzzer reports it.
struct Broken {
    explicit Broken(const std::string& what);
};

inline void expect(bool right, const char* what) {
    if (!right) throw Broken(what);
}

// What the Python module (csrc/bindings) or its face (pyad_edge/ops) checks before a kernel is
// called: a kernel may count on it, so a target that cannot give it ends here.
void require(bool right, const char* what);

}  // namespace fuzz
