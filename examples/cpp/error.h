// Errors that a user can act on, with the exit codes of the Python command line.
#pragma once

#include <stdexcept>
#include <string>

namespace pyad::example {

enum class Code { setting = 2, data = 3, engine = 4, network = 5 };

class Error : public std::runtime_error {
  public:
    Error(Code code, const std::string& sentence) : std::runtime_error(sentence), code(code) {}
    Code code;
};

}  // namespace pyad::example
