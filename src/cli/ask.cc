#include "cli/ask.h"

#include <termios.h>
#include <unistd.h>

#include <cstdio>
#include <iostream>
#include <set>

#include "identity/accounts.h"

namespace ecluse {

bool ReadLine(const char* prompt, std::string* line) {
  bool terminal = isatty(STDIN_FILENO) != 0;
  termios before{};
  if (terminal) {
    std::fputs(prompt, stderr);
    tcgetattr(STDIN_FILENO, &before);
    termios unseen = before;
    unseen.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &unseen);
  }
  bool read = static_cast<bool>(std::getline(std::cin, *line));
  if (terminal) {
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
    std::fputc('\n', stderr);
  }
  if (read && !line->empty() && line->back() == '\r') line->pop_back();
  return read;
}

Status AskTwoPeople(const Policy& policy, const std::vector<std::string>& people) {
  if (std::set<std::string>(people.begin(), people.end()).size() != 2)
    return Fail(sqlstate::kInvalidParameter, "it takes two people", "Name two accounts: --by alice --by bob.");
  ECLUSE_TRY(AccountMap accounts, LoadAccounts(policy.accounts_file));
  for (const std::string& name : people) {
    std::string password;
    bool given = ReadLine(("Password of " + name + ": ").c_str(), &password);
    auto found = accounts.find(name);
    if (!given || found == accounts.end() || found->second.locked || !found->second.verifier.Matches(password))
      return Fail(sqlstate::kWrongPassword, "the name or the password of " + name + " is wrong",
                  "Nothing was accepted. Both need an account that is not locked (ecluse account list).");
  }
  return {};
}

}  // namespace ecluse
