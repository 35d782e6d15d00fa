#include "cli/ask.h"

#include <termios.h>
#include <unistd.h>

#include <cstdio>
#include <iostream>

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

}  // namespace ecluse
