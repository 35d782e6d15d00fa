// Asking whoever types.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "identity/accounts.h"
#include "policy/policy.h"

namespace ecluse {

// A line of standard input without its end; asked for with `prompt` and typed unseen where that is a terminal. False at
// the end of input.
bool ReadLine(const char* prompt, std::string* line);

// Asks for the passwords of two people; they are not looked at here.
Result<std::vector<Approver>> AskPasswords(const std::vector<std::string>& people);
// Asks for the passwords of `people`: two different accounts, neither of them locked. Anything else refuses.
Status AskTwoPeople(const Policy& policy, const std::vector<std::string>& people);

}  // namespace ecluse
