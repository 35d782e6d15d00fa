#include "tlog/tree.h"

#include <openssl/sha.h>

#include <algorithm>
#include <array>
#include <bit>

#include "base/check.h"

// The functions of OpenSSL 3.0 that are not declared deprecated look their algorithm up by name on every call, which
// costs more than hashing an entry does.
#pragma clang diagnostic ignored "-Wdeprecated-declarations"

namespace ecluse {
namespace {

// The number of leaves left of where RFC 6962 splits a tree of `size` > 1: the largest power of two below it.
uint64_t Split(uint64_t size) { return std::bit_floor(size - 1); }

// The hash over the leaves [begin, end), for ranges that RFC 6962's recursion meets: `begin` is a multiple of the power
// of two at or above end - begin.
Result<Hash> RangeHash(uint64_t begin, uint64_t end, HashSource& source) {
  const uint64_t size = end - begin;
  if (std::has_single_bit(size)) {
    const int level = std::countr_zero(size);
    return source.SubtreeHash(level, begin >> level);
  }
  const uint64_t split = Split(size);
  ECLUSE_TRY(Hash left, RangeHash(begin, begin + split, source));
  ECLUSE_TRY(Hash right, RangeHash(begin + split, end, source));
  return NodeHash(left, right);
}

}  // namespace

Hash LeafHash(std::string_view entry) {
  constexpr uint8_t kLeaf = 0;
  Hash hash;
  SHA256_CTX context;
  SHA256_Init(&context);
  SHA256_Update(&context, &kLeaf, 1);
  SHA256_Update(&context, entry.data(), entry.size());
  SHA256_Final(hash.data(), &context);
  return hash;
}

Hash NodeHash(const Hash& left, const Hash& right) {
  std::array<uint8_t, 1 + 2 * sizeof(Hash)> text{1};
  std::ranges::copy(left, text.begin() + 1);
  std::ranges::copy(right, text.begin() + 1 + sizeof(Hash));
  Hash hash;
  SHA256_CTX context;
  SHA256_Init(&context);
  SHA256_Update(&context, text.data(), text.size());
  SHA256_Final(hash.data(), &context);
  return hash;
}

Hash Sha256(std::string_view bytes) {
  Hash hash;
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), hash.data());
  return hash;
}

Hash EmptyRoot() { return Sha256({}); }

Hash RootOf(std::span<const Hash> leaves) {
  if (leaves.empty()) return EmptyRoot();
  if (leaves.size() == 1) return leaves[0];
  const size_t split = Split(leaves.size());
  return NodeHash(RootOf(leaves.first(split)), RootOf(leaves.subspan(split)));
}

Result<Hash> RootAt(uint64_t size, HashSource& source) {
  if (size == 0) return EmptyRoot();
  return RangeHash(0, size, source);
}

Result<std::vector<Hash>> InclusionProof(uint64_t index, uint64_t size, HashSource& source) {
  CHECK(index < size);
  std::vector<Hash> proof;
  uint64_t begin = 0, end = size;
  while (end - begin > 1) {
    const uint64_t middle = begin + Split(end - begin);
    const bool left = index < middle;
    ECLUSE_TRY(Hash sibling, left ? RangeHash(middle, end, source) : RangeHash(begin, middle, source));
    proof.push_back(sibling);
    (left ? end : begin) = middle;
  }
  return std::vector<Hash>(proof.rbegin(), proof.rend());
}

bool VerifyInclusion(const Hash& leaf, uint64_t index, uint64_t size, std::span<const Hash> proof, const Hash& root) {
  if (index >= size) return false;
  uint64_t fn = index, sn = size - 1;
  Hash hash = leaf;
  for (const Hash& sibling : proof) {
    if (sn == 0) return false;
    if ((fn & 1) != 0 || fn == sn) {
      hash = NodeHash(sibling, hash);
      while ((fn & 1) == 0 && fn != 0) {
        fn >>= 1;
        sn >>= 1;
      }
    } else {
      hash = NodeHash(hash, sibling);
    }
    fn >>= 1;
    sn >>= 1;
  }
  return sn == 0 && hash == root;
}

Result<std::vector<Hash>> ConsistencyProof(uint64_t old_size, uint64_t size, HashSource& source) {
  CHECK(old_size <= size);
  std::vector<Hash> proof;
  if (old_size == 0 || old_size == size) return proof;
  uint64_t begin = 0, end = size;
  bool whole = true;  // the old tree's root is known to who verifies as long as no split has cut into it
  while (end != old_size) {
    const uint64_t middle = begin + Split(end - begin);
    if (old_size <= middle) {
      ECLUSE_TRY(Hash right, RangeHash(middle, end, source));
      proof.push_back(right);
      end = middle;
    } else {
      ECLUSE_TRY(Hash left, RangeHash(begin, middle, source));
      proof.push_back(left);
      begin = middle;
      whole = false;
    }
  }
  if (!whole) {
    ECLUSE_TRY(Hash rest, RangeHash(begin, end, source));
    proof.push_back(rest);
  }
  return std::vector<Hash>(proof.rbegin(), proof.rend());
}

bool VerifyConsistency(uint64_t old_size, const Hash& old_root, uint64_t size, const Hash& root,
                       std::span<const Hash> proof) {
  if (old_size > size) return false;
  if (old_size == size) return proof.empty() && old_root == root;
  if (old_size == 0) return proof.empty() && old_root == EmptyRoot();
  if (proof.empty()) return false;
  size_t next = 0;
  Hash old_hash, hash;
  if (std::has_single_bit(old_size)) {
    old_hash = hash = old_root;
  } else {
    old_hash = hash = proof[next++];
  }
  uint64_t fn = old_size - 1, sn = size - 1;
  while ((fn & 1) != 0) {
    fn >>= 1;
    sn >>= 1;
  }
  for (; next < proof.size(); ++next) {
    if (sn == 0) return false;
    if ((fn & 1) != 0 || fn == sn) {
      old_hash = NodeHash(proof[next], old_hash);
      hash = NodeHash(proof[next], hash);
      while ((fn & 1) == 0 && fn != 0) {
        fn >>= 1;
        sn >>= 1;
      }
    } else {
      hash = NodeHash(hash, proof[next]);
    }
    fn >>= 1;
    sn >>= 1;
  }
  return sn == 0 && old_hash == old_root && hash == root;
}

void Frontier::Append(const Hash& leaf) { AppendSubtree(0, leaf); }

void Frontier::AppendSubtree(int level, const Hash& root) {
  CHECK((size_ & ((uint64_t{1} << level) - 1)) == 0);
  Hash hash = root;
  for (uint64_t of_level = size_ >> level; (of_level & 1) != 0; of_level >>= 1) {
    hash = NodeHash(roots_.back(), hash);
    roots_.pop_back();
  }
  roots_.push_back(hash);
  size_ += uint64_t{1} << level;
}

Hash Frontier::Root() const {
  if (roots_.empty()) return EmptyRoot();
  Hash hash = roots_.back();
  for (size_t i = roots_.size() - 1; i > 0; --i) hash = NodeHash(roots_[i - 1], hash);
  return hash;
}

Result<Frontier> Frontier::Of(uint64_t size, HashSource& source) {
  Frontier frontier;
  for (int level = 63; level >= 0; --level) {
    if ((size >> level & 1) == 0) continue;
    ECLUSE_TRY(Hash root, source.SubtreeHash(level, frontier.size_ >> level));
    frontier.roots_.push_back(root);
    frontier.size_ += uint64_t{1} << level;
  }
  return frontier;
}

}  // namespace ecluse
