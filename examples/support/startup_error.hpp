#pragma once

#include <stdexcept>

namespace examples {

/// The program cannot start: the command line is wrong, or a resource that an option names is unavailable. what()
/// names the option and the cause in one line.
class startup_error : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

} // namespace examples
