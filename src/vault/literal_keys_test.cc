#include "vault/literal_keys.h"

#include <filesystem>
#include <fstream>

#include "base/file.h"
#include "vault/vault_fixture_test.h"

namespace ecluse {
namespace {

constexpr int64_t kDay = 86'400'000'000;

class LiteralKeysTest : public RingTest {
 protected:
  void SetUp() override {
    RingTest::SetUp();
    ring_ = Open();
    EXPECT_TRUE(ring_->generations().Make(kFirstOfMay));
  }
  LiteralKeys& keys() { return ring_->literal_keys(); }
  std::string path(const std::string& month) { return data_ + "/keys/literals/" + month; }

  std::unique_ptr<KeyRing> ring_;
};

TEST_F(LiteralKeysTest, OneForAMonthIsMadeOnceAndToldOf) {
  std::vector<std::string> told;
  ring_->OnKeyMade([&](const KeyInfo& one) { told.push_back(one.kind + " " + one.name + " " + one.id); });
  const std::string first = keys().Seal(kFirstOfMay, "in May", "a").value();
  const std::string last = keys().Seal(kFirstOfMay + 30 * kDay, "still in May", "a").value();
  const std::string june = keys().Seal(kFirstOfMay + 31 * kDay, "in June", "a").value();
  ASSERT_EQ(told.size(), 2u);
  EXPECT_TRUE(told[0].starts_with("literals 2024-05 ")) << told[0];
  EXPECT_TRUE(told[1].starts_with("literals 2024-06 ")) << told[1];
  EXPECT_EQ(EnvelopeKeyId(first), EnvelopeKeyId(last));
  ring_ = Open();
  EXPECT_EQ(keys().Open(first, "a").value(), "in May");
  EXPECT_EQ(keys().Open(last, "a").value(), "still in May");
  EXPECT_EQ(keys().Open(june, "a").value(), "in June");
  EXPECT_FALSE(keys().Open(june, "b"));
  EXPECT_EQ(keys().List()->size(), 2u);
  EXPECT_EQ(told[1], "literals 2024-06 " + keys().List()->back().id);
}

TEST_F(LiteralKeysTest, DestroyedOnesOpenNothingHereOrAgain) {
  const std::string may = keys().Seal(kFirstOfMay, "in May", "a").value();
  const std::string june = keys().Seal(kFirstOfMay + 31 * kDay, "in June", "a").value();
  std::vector<std::string> told;
  const auto tell = [&](const std::string& month) -> Status {
    told.push_back(month);
    return {};
  };
  ASSERT_TRUE(keys().DestroyEndedBefore(kFirstOfMay + 30 * kDay, tell));
  EXPECT_TRUE(told.empty());
  ASSERT_TRUE(keys().DestroyEndedBefore(kFirstOfMay + 31 * kDay, tell));
  EXPECT_EQ(told, std::vector<std::string>{"2024-05"});
  EXPECT_EQ(keys().Open(may, "a").value(), std::nullopt);
  EXPECT_EQ(keys().Open(june, "a").value(), "in June");
  ring_ = Open();
  EXPECT_EQ(keys().Open(may, "a").value(), std::nullopt);
  // Another of the same month is another key.
  ASSERT_TRUE(keys().Seal(kFirstOfMay, "again", "a"));
  EXPECT_EQ(keys().Open(may, "a").value(), std::nullopt);
}

TEST_F(LiteralKeysTest, ACopyOfThemEndsWithItsGeneration) {
  const std::string may = keys().Seal(kFirstOfMay, "in May", "a").value();
  std::filesystem::copy_file(path("2024-05"), path("copy"));
  ASSERT_TRUE(ring_->generations().Make(kFirstOfMay + kDay));
  ASSERT_TRUE(keys().WrapAnew());
  ASSERT_TRUE(ring_->generations().Destroy(ring_->generations().List()[0].id));
  ring_ = Open();
  EXPECT_EQ(keys().Open(may, "a").value(), "in May");
  std::filesystem::rename(path("copy"), path("2024-05"));
  ring_ = Open();
  EXPECT_FALSE(keys().Open(may, "a"));
}

TEST_F(LiteralKeysTest, DamagedOnesAreRefused) {
  const std::string may = keys().Seal(kFirstOfMay, "in May", "a").value();
  const std::string good = *ReadWholeFile(RealFiles(), path("2024-05"), 65'536);
  for (size_t i = 0; i + 1 < good.size(); ++i) {
    std::string altered = good;
    altered[i] = altered[i] == 'A' ? 'B' : 'A';
    std::ofstream(path("2024-05")) << altered;
    auto opened = Open()->literal_keys().Open(may, "a");
    EXPECT_FALSE(opened && *opened) << i;
  }
}

}  // namespace
}  // namespace ecluse
