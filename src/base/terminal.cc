#include "base/terminal.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <cstring>

namespace ecluse {

Result<Secret> AskUnseen(const char* prompt, const char* instead) {
  const int terminal = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
  if (terminal < 0)
    return Fail("28000", "there is no terminal to ask on", instead, "base.terminal", std::string(prompt));
  termios before{};
  const bool changes = tcgetattr(terminal, &before) == 0;
  termios unseen = before;
  unseen.c_lflag &= ~static_cast<tcflag_t>(ECHO);
  if (changes) tcsetattr(terminal, TCSAFLUSH, &unseen);
  (void)!write(terminal, prompt, std::strlen(prompt));
  std::array<char, 1'024> line;  // the terminal gives one line at a time
  const ssize_t n = read(terminal, line.data(), line.size());
  if (changes) tcsetattr(terminal, TCSAFLUSH, &before);
  (void)!write(terminal, "\n", 1);
  close(terminal);
  std::string_view text(line.data(), n > 0 ? static_cast<size_t>(n) : 0);
  while (text.ends_with('\n') || text.ends_with('\r')) text.remove_suffix(1);
  Secret typed(text);
  OPENSSL_cleanse(line.data(), line.size());
  if (typed.empty()) return Fail("28000", "nothing was typed", instead, "base.terminal", std::string(prompt));
  return typed;
}

}  // namespace ecluse
