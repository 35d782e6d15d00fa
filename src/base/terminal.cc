#include "base/terminal.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <signal.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace ecluse {

Result<Secret> AskUnseen(const char* prompt, const char* instead) {
  const int terminal = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
  if (terminal < 0)
    return Fail("28000", "there is no terminal to ask on", instead, "base.terminal", std::string(prompt));
  // Whoever interrupts is heard when the terminal shows again what is typed.
  sigset_t interrupts, before_signals;
  sigemptyset(&interrupts);
  for (const int signal : {SIGINT, SIGTERM, SIGQUIT, SIGHUP, SIGTSTP}) sigaddset(&interrupts, signal);
  pthread_sigmask(SIG_BLOCK, &interrupts, &before_signals);
  termios before{};
  bool unseen = tcgetattr(terminal, &before) == 0;
  termios changed = before;
  changed.c_lflag &= ~static_cast<tcflag_t>(ECHO);
  unseen = unseen && tcsetattr(terminal, TCSAFLUSH, &changed) == 0;
  std::array<char, 1'024> line;  // the terminal gives one line at a time
  ssize_t n = 0;
  if (unseen) {
    (void)!write(terminal, prompt, std::strlen(prompt));
    do {
      n = read(terminal, line.data(), line.size());
    } while (n < 0 && errno == EINTR);
    tcsetattr(terminal, TCSAFLUSH, &before);
    (void)!write(terminal, "\n", 1);
  }
  close(terminal);
  pthread_sigmask(SIG_SETMASK, &before_signals, nullptr);
  if (!unseen)
    return Fail("28000", "the terminal would show what is typed", instead, "base.terminal", std::string(prompt));
  std::string_view text(line.data(), n > 0 ? static_cast<size_t>(n) : 0);
  while (text.ends_with('\n') || text.ends_with('\r')) text.remove_suffix(1);
  Secret typed(text);
  OPENSSL_cleanse(line.data(), line.size());
  if (typed.empty()) return Fail("28000", "nothing was typed", instead, "base.terminal", std::string(prompt));
  return typed;
}

}  // namespace ecluse
