// pyad/level.h: choosing an instruction set by name.
#include "pyad/level.h"

#include "check.h"
#include "levels.h"

PYAD_TEST(levels_start_with_the_portable_one_and_answer_to_their_names) {
    const std::vector<pyad::Level> levels = pyad::available_levels();
    CHECK(levels.front() == pyad::Level::portable);
    check::at_each_level([](pyad::Level level) {
        CHECK(pyad::active_level() == level);
        CHECK(std::string(pyad::level_name(level)).size() >= 4);
    });
    for (size_t i = 1; i < levels.size(); ++i) CHECK(levels[i - 1] < levels[i]);
}

PYAD_TEST(an_unknown_level_is_refused_with_those_of_the_machine) {
    CHECK_THROWS(pyad::set_level("avx1024"), "portable");
    CHECK_THROWS(pyad::set_level(""), "expected one of the CPU levels");
}
