// Asking whoever types.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "base/result.h"
#include "identity/accounts.h"
#include "policy/policy.h"

namespace ecluse {

// A line of standard input without its end; asked for with `prompt` and typed unseen where that is a terminal. False at
// the end of input.
bool ReadLine(const char* prompt, std::string* line);

// What commands that take two people are told: --by, twice, and --reason.
struct TwoPeople {
  std::vector<std::string> people;
  std::string reason;
  // This object must live as long as `app`.
  void AddOptions(CLI::App* app, const std::string& by, const std::string& why);
  // "by ann and ben: restored", once there are two.
  std::string Text() const;
};

// Asks for the passwords of two people; they are not looked at here.
Result<std::vector<Approver>> AskPasswords(const std::vector<std::string>& people);
// Asks for the passwords of `people`: two different accounts, neither of them locked. Anything else refuses.
Status AskTwoPeople(const Policy& policy, const std::vector<std::string>& people);

}  // namespace ecluse
