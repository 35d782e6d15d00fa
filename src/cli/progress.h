// How far a command is, where that takes longer than a moment.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace ecluse {

// A line on standard error about every second, with a rate and what is left of the time; on a terminal always the same
// line. Not thread-safe.
class Progress {
 public:
  // `done` of about `all` rows (0: not known) of `what`.
  void operator()(const std::string& what, uint64_t done, uint64_t all);
  // Clears the terminal's line.
  void End() const;

 private:
  std::string what_;
  std::chrono::steady_clock::time_point begun_, shown_;
  uint64_t first_ = 0;
};

}  // namespace ecluse
