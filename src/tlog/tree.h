// The Merkle tree of RFC 6962, section 2: hashes, roots, and proofs between them. Pure: hashes come in, hashes go out.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace ecluse {

using Hash = std::array<uint8_t, 32>;  // SHA-256

Hash LeafHash(std::string_view entry);               // H(0x00 ‖ entry)
Hash NodeHash(const Hash& left, const Hash& right);  // H(0x01 ‖ left ‖ right)
Hash EmptyRoot();                                    // H("")
Hash Sha256(std::string_view bytes);

// The root of a tree whose leaves have these hashes (RFC 6962, MTH); any number of them.
Hash RootOf(std::span<const Hash> leaves);

// Where hashes of complete subtrees come from. Not thread-safe unless it says so.
class HashSource {
 public:
  virtual ~HashSource() = default;
  // The hash over the leaves from index·2^level up to (index+1)·2^level. Asked only for what a tree of the size in
  // question holds whole.
  virtual Result<Hash> SubtreeHash(int level, uint64_t index) = 0;
};

// The root of the first `size` leaves.
Result<Hash> RootAt(uint64_t size, HashSource& source);

// RFC 6962, 2.1.1: that leaf `index` is in the tree of `size` leaves; from the leaf's sibling upwards. index < size.
Result<std::vector<Hash>> InclusionProof(uint64_t index, uint64_t size, HashSource& source);
// RFC 9162, 2.1.3.2. Any numbers and any proof may come in.
bool VerifyInclusion(const Hash& leaf, uint64_t index, uint64_t size, std::span<const Hash> proof, const Hash& root);

// RFC 6962, 2.1.2: that the tree of `old_size` leaves is the start of the one of `size`. Empty where old_size is 0 or
// `size`. old_size <= size.
Result<std::vector<Hash>> ConsistencyProof(uint64_t old_size, uint64_t size, HashSource& source);
// RFC 9162, 2.1.4.2. Any numbers and any proof may come in. The empty tree is the start of every tree.
bool VerifyConsistency(uint64_t old_size, const Hash& old_root, uint64_t size, const Hash& root,
                       std::span<const Hash> proof);

// The right edge of a growing tree: the roots of its complete subtrees, largest first. 64 hashes at most.
class Frontier {
 public:
  void Append(const Hash& leaf);
  // Appends a complete subtree of 2^level leaves; size() must be a multiple of as many.
  void AppendSubtree(int level, const Hash& root);
  Hash Root() const;
  uint64_t size() const { return size_; }
  // The same edge, read from a tree that is there.
  static Result<Frontier> Of(uint64_t size, HashSource& source);

 private:
  uint64_t size_ = 0;
  std::vector<Hash> roots_;
};

}  // namespace ecluse
