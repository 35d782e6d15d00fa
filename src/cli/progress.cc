#include "cli/progress.h"

#include <unistd.h>

#include <cstdio>

namespace ecluse {
namespace {

bool Terminal() { return isatty(STDERR_FILENO) != 0; }

}  // namespace

void Progress::operator()(const std::string& what, uint64_t done, uint64_t all) {
  const auto now = std::chrono::steady_clock::now();
  if (what == what_ && now - shown_ < std::chrono::seconds(1)) return;
  if (what != what_) begun_ = now, first_ = done;
  what_ = what;
  shown_ = now;
  const double seconds = std::chrono::duration<double>(now - begun_).count();
  const double rate = seconds > 0 ? static_cast<double>(done - first_) / seconds : 0;
  std::fprintf(stderr, "%s%s", Terminal() ? "\r\x1b[K" : "", what.c_str());
  if (done > 0) std::fprintf(stderr, ": %llu rows", static_cast<unsigned long long>(done));
  if (done > 0 && all > 0) std::fprintf(stderr, " of about %llu", static_cast<unsigned long long>(all));
  if (rate > 0) std::fprintf(stderr, ", %.0f a second", rate);
  if (rate > 0 && all > done) std::fprintf(stderr, ", about %.0f s left", static_cast<double>(all - done) / rate);
  if (!Terminal()) std::fputc('\n', stderr);
}

void Progress::End() const {
  if (Terminal()) std::fprintf(stderr, "\r\x1b[K");
}

}  // namespace ecluse
