#include "cli/ask.h"

#include <openssl/crypto.h>
#include <termios.h>
#include <unistd.h>

#include <cstdio>
#include <iostream>
#include <set>

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

void TwoPeople::AddOptions(CLI::App* app, const std::string& by, const std::string& why) {
  app->add_option("--by", people, by + ", with its password; given twice")->required();
  app->add_option("--reason", reason, why)->required()->check([](const std::string& text) {
    return text.empty() ? "a reason must be given" : std::string();
  });
}

std::string TwoPeople::Text() const { return "by " + people.at(0) + " and " + people.at(1) + ": " + reason; }

Result<std::vector<Approver>> AskPasswords(const std::vector<std::string>& people) {
  if (std::set<std::string>(people.begin(), people.end()).size() != 2)
    return Fail(sqlstate::kInvalidParameter, "it takes two people", "Name two accounts: --by alice --by bob.");
  std::vector<Approver> approvers;
  for (const std::string& name : people) {
    std::string password;
    (void)ReadLine(("Password of " + name + ": ").c_str(), &password);
    approvers.push_back({name, Secret(std::string_view(password))});
    OPENSSL_cleanse(password.data(), password.size());
  }
  return approvers;
}

Status AskTwoPeople(const Policy& policy, const std::vector<std::string>& people) {
  ECLUSE_TRY(auto approvers, AskPasswords(people));
  ECLUSE_TRY(AccountMap accounts, LoadAccounts(policy.accounts_file));
  return CheckTwoPeople(accounts, approvers);
}

}  // namespace ecluse
