#include "admit/counter.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/limits.h"

namespace ecluse {

void SlidingCounter::Advance(int64_t now) {
  while (!slices_.empty() && slices_.front().last + length_ <= now) {
    used_ -= slices_.front().events;
    slices_.pop_front();
  }
}

void SlidingCounter::Add(int64_t now, int64_t events) {
  if (events <= 0) return;
  Advance(now);
  // Two slices start at least this far apart, so that no more than kWindowSlices of them fit into the window.
  int64_t apart = length_ / (limits::kWindowSlices - 1) + 1;
  if (!slices_.empty() && now - slices_.back().first < apart) {
    slices_.back().last = now;
    slices_.back().events += events;
  } else {
    slices_.push_back({now, now, events});
  }
  used_ += events;
}

void SlidingCounter::Remove(int64_t time, int64_t events) {
  for (auto slice = slices_.rbegin(); slice != slices_.rend(); ++slice) {
    if (time < slice->first) continue;
    if (time > slice->last) return;
    int64_t removed = std::min(events, slice->events);
    slice->events -= removed;
    used_ -= removed;
    return;
  }
}

void SlidingCounter::Merge(const SlidingCounter& other) {
  std::deque<Slice> both;
  std::merge(slices_.begin(), slices_.end(), other.slices_.begin(), other.slices_.end(), std::back_inserter(both),
             [](const Slice& a, const Slice& b) { return a.last < b.last; });
  slices_ = std::move(both);
  used_ += other.used_;
}

int64_t SlidingCounter::Used(int64_t now) {
  Advance(now);
  return used_;
}

int64_t SlidingCounter::FreesAt(int64_t now) {
  Advance(now);
  for (const Slice& slice : slices_) {
    if (slice.events > 0) return slice.last + length_;
  }
  return 0;
}

}  // namespace ecluse
