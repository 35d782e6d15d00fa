// Asking whoever started the process, whatever its standard input is.
#pragma once

#include "base/result.h"
#include "base/secret.h"

namespace ecluse {

// One line typed unseen on the process's terminal, without its end. Refuses with 28000 where there is no terminal or
// nothing was typed; `instead` is the hint that says what to do then.
Result<Secret> AskUnseen(const char* prompt, const char* instead);

}  // namespace ecluse
