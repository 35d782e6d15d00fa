// Asking whoever types.
#pragma once

#include <string>

namespace ecluse {

// A line of standard input without its end; asked for with `prompt` and typed unseen where that is a terminal. False at
// the end of input.
bool ReadLine(const char* prompt, std::string* line);

}  // namespace ecluse
