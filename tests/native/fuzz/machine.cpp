// level.h, parallel.h and ceiling.h.
#include <atomic>

#include "pyad/ceiling.h"
#include "pyad/level.h"
#include "pyad/parallel.h"
#include "target.h"

using fuzz::Bytes;

namespace {

std::string word(Bytes& bytes, const std::vector<std::string>& known) {
    std::string word;
    if (bytes.one_in(2)) word = known[bytes.below(static_cast<int64_t>(known.size()))];
    for (int64_t i = bytes.below(4); i > 0; --i)
        word.insert(word.begin() + bytes.below(static_cast<int64_t>(word.size()) + 1),
                    static_cast<char>(bytes.bits(1)));
    return word;
}

// 1 to 3 threads: a fuzzer that starts a thousand ends nothing.
void threads(Bytes& bytes) {
    const int before = pyad::num_threads();
    const int n = static_cast<int>(bytes.one_in(2) ? bytes.hostile() : bytes.within(-1, 3));
    fuzz::require(n <= 3 || n > 1024, "few threads");
    pyad::set_num_threads(n);
    fuzz::expect(pyad::num_threads() == n, "as many threads");
    pyad::set_num_threads(before);
}

void pieces(Bytes& bytes) {
    const int64_t n = bytes.one_in(4) ? -bytes.below(1000) : bytes.below(1000);
    const int64_t grain = bytes.hostile();
    std::atomic<int64_t> seen{0};
    pyad::parallel_for(n, grain, [&](int64_t begin, int64_t end) {
        fuzz::expect(begin >= 0 && begin < end && end <= n, "a piece");
        seen += end - begin;
    });
    fuzz::expect(seen == std::max<int64_t>(0, n), "every piece once");
}

}  // namespace

// All of these check themselves. The bandwidths' sizes end at a megabyte here: more is memory that
// the machine has or has not, reported as std::bad_alloc. A rate takes a tenth of a second: few are
// taken.
PYAD_FUZZ(machine) {
    switch (bytes.below(5)) {
        case 0: {
            std::vector<std::string> known;
            for (const pyad::Level level : pyad::available_levels())
                known.emplace_back(pyad::level_name(level));
            pyad::set_level(word(bytes, known));
            break;
        }
        case 1: {
            const std::vector<std::string> known = pyad::peak_names();
            const std::string name = word(bytes, known);
            bool slow = false;
            for (const std::string& peak : known) slow = slow || peak == name;
            if (!slow || bytes.bits(2) == 0) pyad::peak_rate(name);
            break;
        }
        case 2: {
            const int64_t size = bytes.hostile();
            if (size <= (1 << 20) && bytes.bits(2) == 0)
                fuzz::expect(pyad::read_rate(size) > 0.0 && pyad::copy_rate(size) > 0.0, "rates");
            break;
        }
        case 3:
            threads(bytes);
            break;
        default:
            pieces(bytes);
    }
}
