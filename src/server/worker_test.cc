#include "server/worker.h"

#include <gtest/gtest.h>

#include "base/limits.h"

namespace ecluse {
namespace {

TEST(SessionCountTest, ASessionIsCountedUntilItIsGoneHoweverItEnds) {
  SessionCount count;
  std::vector<std::shared_ptr<void>> here;
  for (size_t i = 0; i < limits::kSessionsPerAddress; ++i) here.push_back(count.Enter("10.0.0.1").value());
  EXPECT_EQ(count.Enter("10.0.0.1").error().sqlstate, sqlstate::kTooManyConnections);
  EXPECT_EQ(count.size(), here.size()) << "who was refused is not counted";
  auto elsewhere = count.Enter("10.0.0.2");
  EXPECT_TRUE(elsewhere);
  here.pop_back();
  EXPECT_TRUE(count.Enter("10.0.0.1"));
  try {
    auto counted = count.Enter("10.0.0.1");
    throw std::bad_alloc();
  } catch (const std::bad_alloc&) {
  }
  EXPECT_EQ(count.size(), here.size() + 1);
  here.clear();
  elsewhere->reset();
  EXPECT_EQ(count.size(), 0u);
}

}  // namespace
}  // namespace ecluse
