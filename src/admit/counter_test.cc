#include "admit/counter.h"

#include <gtest/gtest.h>

#include <deque>
#include <random>

namespace ecluse {
namespace {

TEST(SlidingCounterTest, NeverCountsTooFewAndAtMostASliceTooMany) {
  constexpr int64_t kLength = 1'000'000'000;
  constexpr int64_t kSlice = kLength / 1'000;
  std::mt19937_64 random(7);
  SlidingCounter counter(kLength);
  std::deque<int64_t> events;
  int64_t now = 0;
  for (int i = 0; i < 20'000; ++i) {
    now += static_cast<int64_t>(random() % (kSlice / 2));
    if (random() % 3 == 0) {
      counter.Add(now, 1);
      events.push_back(now);
    }
    std::erase_if(events, [now](int64_t at) { return at + kLength + kSlice <= now; });
    auto live = static_cast<int64_t>(
        std::count_if(events.begin(), events.end(), [now](int64_t at) { return at + kLength > now; }));
    ASSERT_GE(counter.Used(now), live);
    ASSERT_LE(counter.Used(now), static_cast<int64_t>(events.size()));
    if (live > 0) {
      ASSERT_GT(counter.FreesAt(now), now);
      ASSERT_LE(counter.FreesAt(now), now + kLength);
    }
  }
}

TEST(SlidingCounterTest, TakesBackOnlyWhatStillCounts) {
  SlidingCounter counter(1'000);
  counter.Add(10, 5);
  counter.Add(500, 3);
  counter.Remove(500, 3);
  EXPECT_EQ(counter.Used(500), 5);
  EXPECT_EQ(counter.FreesAt(500), 1'010);
  EXPECT_EQ(counter.Used(1'010), 0);
  counter.Remove(10, 5);
  EXPECT_EQ(counter.Used(1'010), 0);
  EXPECT_EQ(counter.FreesAt(1'010), 0);
}

TEST(SlidingCounterTest, MergesPastEvents) {
  SlidingCounter now(1'000), past(1'000);
  past.Add(100, 2);
  past.Add(700, 1);
  now.Add(600, 4);
  now.Merge(past);
  EXPECT_EQ(now.Used(1'000), 7);
  EXPECT_EQ(now.Used(1'100), 5);
  EXPECT_EQ(now.Used(1'600), 1);
  EXPECT_EQ(now.Used(1'700), 0);
}

}  // namespace
}  // namespace ecluse
