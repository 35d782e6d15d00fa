// A root key file and a data folder of the test's own.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <numeric>
#include <string>

#include "vault/keys.h"

namespace ecluse {

inline constexpr int64_t kFirstOfMay = 1'714'564'800'000'000;  // 2024-05-01T12:00:00Z

// A key of bytes that count up from there.
inline Secret KeyOf(uint8_t first) {
  Secret key(kXaesKey);
  std::iota(key.mutable_bytes().begin(), key.mutable_bytes().end(), first);
  return key;
}

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
