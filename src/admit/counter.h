// How many events fell into a sliding window: lookups, failures, statistic rows.
#pragma once

#include <cstdint>
#include <deque>

namespace ecluse {

// Counts events of one window in at most limits::kWindowSlices slices. Events of one slice leave the window together,
// with the last of them: the count is never below the true one, and above it by at most what one slice holds. Times are
// microseconds of a clock that never goes back; not thread-safe.
class SlidingCounter {
 public:
  explicit SlidingCounter(int64_t length) : length_(length) {}

  void Add(int64_t now, int64_t events);
  // Takes back events added at `time`, where they still count.
  void Remove(int64_t time, int64_t events);
  int64_t Used(int64_t now);
  // When the oldest slice leaves; 0 where nothing counts.
  int64_t FreesAt(int64_t now);
  // Adds what `other`, a counter of the same length, counted.
  void Merge(const SlidingCounter& other);

 private:
  struct Slice {
    int64_t first, last, events;
  };
  void Advance(int64_t now);

  int64_t length_;
  int64_t used_ = 0;
  std::deque<Slice> slices_;
};

}  // namespace ecluse
