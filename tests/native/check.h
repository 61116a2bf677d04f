// A small test frame: PYAD_TEST(name) { CHECK(...); } in any .cpp of this folder is found by
// itself.
//
// A failing check prints file:line and the values, and the test goes on; main.cpp counts. The
// arguments of CHECK_EQ and CHECK_NEAR are evaluated once.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

namespace check {

struct Test {
    const char* name;
    const char* file;
    void (*body)();
};

// All tests of the program, in the order of linking.
std::vector<Test>& tests();
// Counts a failure of the running test and prints it (the first few of a test).
void fail(const char* file, int line, const std::string& what);
// Counts a check that was made; a test that makes none fails.
void count();
// Says why the rest of a test does not run here.
void skip(const std::string& why);

struct Registered {
    Registered(const char* name, const char* file, void (*body)()) {
        tests().push_back({name, file, body});
    }
};

template <typename T>
std::string show(const T& value) {
    std::ostringstream out;
    out.precision(std::numeric_limits<long double>::max_digits10);
    if constexpr (sizeof(T) == 1 && std::is_integral_v<T>)
        out << static_cast<int>(value);
    else
        out << value;
    return out.str();
}

template <typename A, typename B>
void equal(const A& a, const B& b, const char* what_a, const char* what_b, const char* file,
           int line) {
    count();
    if (!(a == b))
        fail(file, line,
             std::string(what_a) + " == " + what_b + ": " + show(a) + " and " + show(b));
}

inline void near(double a, double b, double tolerance, const char* what_a, const char* what_b,
                 const char* file, int line) {
    count();
    // Written so that NaN fails; equal infinities are near.
    if (!(a == b || std::fabs(a - b) <= tolerance))
        fail(file, line,
             std::string(what_a) + " near " + what_b + ": " + show(a) + " and " + show(b) +
                 ", allowed " + show(tolerance) + " apart");
}

// Whether both ranges hold the same bits; says where they first differ.
template <typename T>
void same_bits(const T* a, const T* b, size_t n, const std::string& what, const char* file,
               int line) {
    count();
    for (size_t i = 0; i < n; ++i)
        if (std::memcmp(a + i, b + i, sizeof(T)) != 0)
            return fail(file, line,
                        what + ": element " + std::to_string(i) + " of " + std::to_string(n) +
                            " is " + show(a[i]) + " and " + show(b[i]));
}

// Numbers made of integer steps (splitmix64), the same on every machine and compiler.
class Random {
  public:
    explicit Random(uint64_t seed) : state_(seed) {}

    uint64_t next() {
        uint64_t z = (state_ += 0x9E3779B97F4A7C15u);
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
        return z ^ (z >> 31);
    }
    // 0 <= result < n.
    int64_t below(int64_t n) { return static_cast<int64_t>(next() % static_cast<uint64_t>(n)); }
    // In [-1, 1), a multiple of 2^-23.
    float uniform() { return static_cast<float>(below(1 << 24) - (1 << 23)) * 0x1p-23f; }
    // Roughly normal: a sum of twelve uniform numbers, exact in float32 arithmetic.
    float normal() {
        int64_t sum = 0;
        for (int i = 0; i < 12; ++i) sum += below(1 << 16);
        return static_cast<float>(sum - 6 * ((1 << 16) - 1)) * 0x1p-16f;
    }
    std::vector<float> uniforms(int64_t n) {
        std::vector<float> out(static_cast<size_t>(n));
        for (float& x : out) x = uniform();
        return out;
    }
    std::vector<float> normals(int64_t n) {
        std::vector<float> out(static_cast<size_t>(n));
        for (float& x : out) x = normal();
        return out;
    }

  private:
    uint64_t state_;
};

// n elements filled with NaN (integers: 0xCD bytes), with a guard on both sides. What a kernel
// leaves untouched is found by untouched(), what it writes beside the buffer by the destructor.
template <typename T>
class Poisoned {
  public:
    explicit Poisoned(int64_t n) : n_(n), values_(static_cast<size_t>(n) + 2 * kGuard) {
        std::memset(static_cast<void*>(values_.data()), kByte, values_.size() * sizeof(T));
        if constexpr (std::is_floating_point_v<T>)
            for (int64_t i = 0; i < n; ++i)
                values_[kGuard + i] = std::numeric_limits<T>::quiet_NaN();
    }
    Poisoned(const Poisoned&) = delete;
    Poisoned& operator=(const Poisoned&) = delete;
    ~Poisoned() {
        if (!intact()) fail(__FILE__, __LINE__, "a kernel wrote beside its output");
    }
    T* data() { return values_.data() + kGuard; }
    T* begin() { return data(); }
    T* end() { return data() + n_; }
    int64_t size() const { return n_; }
    T& operator[](int64_t i) { return values_[kGuard + i]; }
    // How many elements are still as they were made.
    int64_t untouched() const {
        int64_t n = 0;
        for (int64_t i = 0; i < n_; ++i) {
            const T& value = values_[kGuard + i];
            if constexpr (std::is_floating_point_v<T>)
                n += value != value;
            else
                n += is_poison(value);
        }
        return n;
    }

  private:
    static constexpr int64_t kGuard = 64;
    static constexpr int kByte = 0xCD;
    static bool is_poison(const T& value) {
        unsigned char bytes[sizeof(T)];
        std::memcpy(bytes, &value, sizeof(T));
        for (const unsigned char byte : bytes)
            if (byte != kByte) return false;
        return true;
    }
    bool intact() const {
        for (int64_t i = 0; i < kGuard; ++i)
            if (!is_poison(values_[i]) || !is_poison(values_[kGuard + n_ + i])) return false;
        return true;
    }

    int64_t n_;
    std::vector<T> values_;
};

}  // namespace check

#define PYAD_TEST(name)                                                                       \
    static void pyad_test_##name();                                                           \
    static const check::Registered pyad_registered_##name(#name, __FILE__, pyad_test_##name); \
    static void pyad_test_##name()

#define CHECK(condition)                                               \
    do {                                                               \
        check::count();                                                \
        if (!(condition)) check::fail(__FILE__, __LINE__, #condition); \
    } while (false)
#define CHECK_EQ(a, b) check::equal((a), (b), #a, #b, __FILE__, __LINE__)
#define CHECK_NEAR(a, b, tolerance) check::near((a), (b), (tolerance), #a, #b, __FILE__, __LINE__)
// n elements from pointers a and b hold the same bits.
#define CHECK_SAME_BITS(a, b, n) \
    check::same_bits((a), (b), static_cast<size_t>(n), #a " and " #b, __FILE__, __LINE__)
// The statement throws std::exception with `words` in its message.
#define CHECK_THROWS(statement, words)                                                             \
    do {                                                                                           \
        check::count();                                                                            \
        std::string pyad_message = "nothing was thrown";                                           \
        try {                                                                                      \
            statement;                                                                             \
        } catch (const std::exception& error) {                                                    \
            pyad_message = error.what();                                                           \
        }                                                                                          \
        if (pyad_message.find(words) == std::string::npos)                                         \
            check::fail(                                                                           \
                __FILE__, __LINE__,                                                                \
                #statement ": expected '" + std::string(words) + "', got '" + pyad_message + "'"); \
    } while (false)
