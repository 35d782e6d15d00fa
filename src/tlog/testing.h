// For tests: a tree that is held whole, and keys.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tlog/note.h"
#include "tlog/tree.h"

namespace ecluse {

// A tree held whole.
class Leaves final : public HashSource {
 public:
  explicit Leaves(size_t count) {
    for (size_t i = 0; i < count; ++i) leaves.push_back(LeafHash("entry " + std::to_string(i)));
  }
  Result<Hash> SubtreeHash(int level, uint64_t index) override {
    const size_t width = size_t{1} << level;
    EXPECT_LE((index + 1) * width, leaves.size());
    return RootOf(std::span(leaves).subspan(index * width, width));
  }
  Hash Root(size_t size) const { return RootOf(std::span(leaves).first(size)); }
  std::vector<Hash> leaves;
};

inline SigningKey TestKey(const std::string& name, SignatureType type = SignatureType::ed25519) {
  const Hash seed = Sha256(name);
  return SigningKey(name, type, Secret(std::span<const uint8_t>(seed)));
}

}  // namespace ecluse
