#include "plan/cache.h"

#include "base/bytes.h"

namespace ecluse {

std::string PlanCache::Key(const PlanContext& context, char mode, std::span<const Oid> types) {
  std::string key(1, mode);
  AppendU64(key, context.schema->generation);
  key += context.schema->login;
  key += '\0';
  for (const std::string& schema : context.search_path) {
    key += schema;
    key += '\0';
  }
  AppendU32(key, static_cast<uint32_t>(types.size()));
  for (const Oid type : types) AppendU32(key, type);
  return key;
}

std::shared_ptr<const Plan> PlanCache::Find(const std::string& key) {
  const std::lock_guard lock(mutex_);
  const auto it = index_.find(key);
  if (it == index_.end()) {
    ++misses_;
    return nullptr;
  }
  ++hits_;
  items_.splice(items_.begin(), items_, it->second);
  return it->second->plan;
}

void PlanCache::Add(std::string key, uint64_t generation, std::shared_ptr<const Plan> plan) {
  const size_t bytes = plan->MemoryBytes() + key.size() + sizeof(Item) + 64;
  if (bytes > capacity_ / 8) return;
  const std::lock_guard lock(mutex_);
  if (index_.contains(key)) return;
  items_.push_front({std::move(key), generation, bytes, std::move(plan)});
  index_.emplace(items_.front().key, items_.begin());
  bytes_ += bytes;
  while (bytes_ > capacity_) {
    bytes_ -= items_.back().bytes;
    index_.erase(items_.back().key);
    items_.pop_back();
  }
}

void PlanCache::Forget(uint64_t generation) {
  const std::lock_guard lock(mutex_);
  for (auto it = items_.begin(); it != items_.end();) {
    if (it->generation >= generation) {
      ++it;
      continue;
    }
    bytes_ -= it->bytes;
    index_.erase(it->key);
    it = items_.erase(it);
  }
}

Planner::Stats PlanCache::stats() const {
  const std::lock_guard lock(mutex_);
  return {hits_, misses_, bytes_, items_.size()};
}

}  // namespace ecluse
