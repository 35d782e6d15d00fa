// Plans by role, search_path, declared types and text; bounded in bytes, least recently used out first.
#pragma once

#include <list>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>

#include "plan/planner.h"

namespace ecluse {

// Thread-safe; one lock, held for a hash look-up.
class PlanCache {
 public:
  explicit PlanCache(size_t capacity_bytes) : capacity_(capacity_bytes) {}

  // The part of a key that is not the statement's text. `mode` keeps simple and extended texts apart.
  static std::string Key(const PlanContext& context, char mode, std::span<const Oid> types);

  std::shared_ptr<const Plan> Find(const std::string& key);
  void Add(std::string key, uint64_t generation, std::shared_ptr<const Plan> plan);
  void Forget(uint64_t generation);  // drops plans of older generations
  Planner::Stats stats() const;

 private:
  struct Item {
    std::string key;
    uint64_t generation;
    size_t bytes;
    std::shared_ptr<const Plan> plan;
  };
  const size_t capacity_;
  mutable std::mutex mutex_;
  std::list<Item> items_;                                                  // most recent first
  std::unordered_map<std::string_view, std::list<Item>::iterator> index_;  // keys point into items_
  size_t bytes_ = 0;
  uint64_t hits_ = 0, misses_ = 0;
};

}  // namespace ecluse
