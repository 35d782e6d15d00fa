// A root key file and a data folder of the test's own.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>

#include "vault/keys.h"

namespace ecluse {

inline constexpr int64_t kFirstOfMay = 1'714'564'800'000'000;  // 2024-05-01T12:00:00Z

class RingTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/ecluse-vault-XXXXXX";
    folder_ = mkdtemp(name);
    root_ = folder_ + "/root.key";
    data_ = folder_ + "/data";
    ASSERT_TRUE(KeyRing::Init(root_));
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::unique_ptr<KeyRing> Open() {
    auto ring = KeyRing::Open(root_, data_);
    EXPECT_TRUE(ring) << ring.error().message;
    return ring ? std::move(*ring) : nullptr;
  }
  std::string folder_, root_, data_;
};

}  // namespace ecluse
