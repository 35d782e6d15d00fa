// Tokens of people asked for before, in memory that does not grow.
#pragma once

#include <bit>
#include <cstdlib>
#include <memory>
#include <new>
#include <utility>

#include "ledger/entry.h"

namespace ecluse {

// Holds people, 32 bytes each, in buckets that their key chooses; a full bucket forgets the one least deserving:
// whoever is asked for again moves up, newcomers take the last place, so that reading a whole register once does not
// drive out those who are asked for often. Memory is taken as buckets are first used. Not thread-safe.
class TokenCache {
 public:
  static constexpr size_t kWays = 4;

  // For this many people at most, a power of two.
  explicit TokenCache(size_t people) : mask_(std::bit_ceil(people / kWays) - 1) {
    // Zeroed pages that the kernel hands out when they are touched; no key and no token is all zeros.
    buckets_.reset(static_cast<Bucket*>(std::calloc(mask_ + 1, sizeof(Bucket))));
    if (!buckets_) throw std::bad_alloc();
  }

  // The token, or nullptr; the pointer is good until the next call.
  const SubjectToken* Find(const SubjectKey& key) {
    Bucket& bucket = Of(key);
    for (size_t way = 0; way < kWays; ++way) {
      if (bucket.at[way].key != key) continue;
      if (way == 0) return &bucket.at[0].token;
      std::swap(bucket.at[way], bucket.at[way - 1]);
      return &bucket.at[way - 1].token;
    }
    return nullptr;
  }

  void Put(const SubjectKey& key, const SubjectToken& token) {
    Bucket& bucket = Of(key);
    size_t way = 0;
    while (way < kWays - 1 && bucket.at[way].key != SubjectKey{} && bucket.at[way].key != key) ++way;
    bucket.at[way] = {key, token};
  }

  void Forget(const SubjectKey& key) {
    for (Entry& entry : Of(key).at)
      if (entry.key == key) entry = {};
  }

 private:
  struct Entry {
    SubjectKey key;
    SubjectToken token;
  };
  struct Bucket {
    Entry at[kWays];
  };
  struct Free {
    void operator()(Bucket* buckets) const { std::free(buckets); }
  };
  Bucket& Of(const SubjectKey& key) { return buckets_[SubjectKeyHash{}(key)&mask_]; }

  size_t mask_;
  std::unique_ptr<Bucket[], Free> buckets_;
};

}  // namespace ecluse
