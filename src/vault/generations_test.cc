#include "vault/generations.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/file.h"

namespace ecluse {
namespace {

class GenerationsTest : public testing::Test {
 protected:
  GenerationsTest() {
    folder_ = "/tmp/ecluse-generations-XXXXXX";
    EXPECT_NE(mkdtemp(folder_.data()), nullptr);
  }
  ~GenerationsTest() override { std::filesystem::remove_all(folder_); }

  std::string path() const { return folder_ + "/generations"; }
  std::unique_ptr<Generations> Open() {
    auto opened = Generations::Open(RealFiles(), path(), gate_);
    EXPECT_TRUE(opened) << opened.error().message;
    return opened ? std::move(*opened) : nullptr;
  }

  std::string folder_;
  WrappedKey gate_{RandomKeyId(), Xaes(RandomKey())};
};

TEST_F(GenerationsTest, TheNewestWrapsAndAllOpen) {
  auto generations = Open();
  EXPECT_TRUE(generations->List().empty());
  EXPECT_FALSE(std::filesystem::exists(path()));
  ASSERT_TRUE(generations->Make(1'000));
  const std::string first = generations->Wrap("a key", "of a");
  ASSERT_TRUE(generations->Make(2'000));
  const std::string second = generations->Wrap("a key", "of b");
  EXPECT_FALSE(generations->UnderNewest(first));
  EXPECT_TRUE(generations->UnderNewest(second));
  auto again = Open();
  for (Generations* one : {generations.get(), again.get()}) {
    EXPECT_EQ(one->Unwrap(first, "of a")->text(), "a key");
    EXPECT_EQ(one->Unwrap(second, "of b")->text(), "a key");
    EXPECT_FALSE(one->Unwrap(second, "of a"));
  }
  EXPECT_EQ(again->List().size(), 2u);
  EXPECT_EQ(again->List()[0].made, 1'000);
}

TEST_F(GenerationsTest, WhatIsDestroyedOpensNothingAndSaysSo) {
  auto generations = Open();
  ASSERT_TRUE(generations->Make(1'000));
  const std::string first = generations->Wrap("a key", "of a");
  ASSERT_TRUE(generations->Make(2'000));
  ASSERT_TRUE(generations->Destroy(generations->List()[0].id));
  auto again = Open();
  for (Generations* one : {generations.get(), again.get()}) {
    auto gone = one->Unwrap(first, "of a");
    ASSERT_FALSE(gone);
    EXPECT_NE(gone.error().message.find("is gone"), std::string::npos);
    EXPECT_EQ(one->List().size(), 1u);
  }
}

// A reader beside the gate that made it; and one whose file was put back from an older copy.
TEST_F(GenerationsTest, OneMadeSinceIsFoundAndNoneIsForgotten) {
  auto gate = Open();
  ASSERT_TRUE(gate->Make(1'000));
  auto reader = Open();
  std::filesystem::copy_file(path(), path() + ".old");
  ASSERT_TRUE(gate->Make(2'000));
  const std::string second = gate->Wrap("a key", "of b");
  EXPECT_EQ(reader->Unwrap(second, "of b")->text(), "a key");
  std::filesystem::rename(path() + ".old", path());
  EXPECT_FALSE(gate->Unwrap(SealEnvelope(Xaes(RandomKey()), RandomKeyId(), "x", ""), ""));  // reads the file
  EXPECT_EQ(gate->Unwrap(second, "of b")->text(), "a key");
  EXPECT_EQ(gate->List().size(), 2u);
}

TEST_F(GenerationsTest, AFileThatIsGoneIsWrittenAgain) {
  auto generations = Open();
  EXPECT_FALSE(*generations->Mend());
  ASSERT_TRUE(generations->Make(1'000));
  EXPECT_FALSE(*generations->Mend());
  std::filesystem::remove(path());
  EXPECT_TRUE(*generations->Mend());
  EXPECT_EQ(Open()->List().size(), 1u);
}

TEST_F(GenerationsTest, EveryMadeOneIsToldOfBeforeItIsTheNewest) {
  auto generations = Open();
  std::vector<std::string> told;
  generations->OnMade([&](const GenerationInfo& one) { told.push_back(one.id); });
  ASSERT_TRUE(generations->Make(2'000));
  ASSERT_TRUE(generations->Make(1'000));  // the clock was set back
  ASSERT_EQ(told.size(), 2u);
  EXPECT_EQ(told[1], generations->List()[1].id);
  EXPECT_EQ(generations->List()[1].made, 1'000) << "as the clock is, also where it was set back";
}

TEST_F(GenerationsTest, AnythingElseIsRefused) {
  ASSERT_TRUE(Open()->Make(1'000));
  ASSERT_TRUE(Open()->Make(2'000));
  const std::string good = *ReadWholeFile(RealFiles(), path(), 65'536);
  const auto refused = [&](std::string content) {
    std::ofstream(path()) << content;
    return !Generations::Open(RealFiles(), path(), gate_);
  };
  for (size_t i = 0; i < good.size(); ++i) {
    std::string altered = good;
    altered[i] = altered[i] == 'A' ? 'B' : 'A';
    EXPECT_TRUE(refused(altered)) << i;
    // Whole lines that are missing are not seen here: <data_dir>/keys/generation is what notices that.
    const bool whole = i > good.find("gate") && good[i - 1] == '\n';
    if (!whole) EXPECT_TRUE(refused(good.substr(0, i))) << i;
  }
  EXPECT_FALSE(refused(good));
  const WrappedKey another{RandomKeyId(), Xaes(RandomKey())};
  EXPECT_FALSE(Generations::Open(RealFiles(), path(), another));
}

}  // namespace
}  // namespace ecluse
