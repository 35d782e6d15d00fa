// RocksDB behind Result: the stores of person keys and of the index.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace rocksdb {
class DB;
}

namespace ecluse {

// Thread-safe.
class Store {
 public:
  enum class Mode {
    create,     // made where missing
    existing,   // refuses a missing one
    read_only,  // what it holds at this moment, also while another process writes it
  };
  static Result<std::unique_ptr<Store>> Open(const std::string& path, Mode mode);
  ~Store();
  // Removes the store at `path`, which nobody has open.
  static Status Destroy(const std::string& path);

  Result<std::optional<std::string>> Get(std::string_view key) const;
  Result<bool> Empty() const;
  // For each key its value or nullopt.
  Result<std::vector<std::optional<std::string>>> GetMany(std::span<const std::string> keys) const;
  // Every pair from `first` up to, not including, `end`, in the order of keys, until `visit` returns false.
  Status Visit(std::string_view first, std::string_view end,
               const std::function<bool(std::string_view key, std::string_view value)>& visit) const;
  // Takes many pairs at once, as one sorted file: for filling a store. All or nothing, and durable when it
  // returns. Of two pairs with one key either may be taken.
  Status Ingest(std::vector<std::pair<std::string, std::string>> pairs);
  // All or nothing. With `sync` durable when it returns. Of two pairs with one key the later is taken.
  Status Put(std::span<const std::pair<std::string, std::string>> pairs, bool sync);
  // All or nothing, durable when it returns; keys that are not there are left out.
  Status Remove(std::span<const std::string> keys);
  // Rewrites the files, so that they hold nothing any more of what was removed.
  Status Compact();
  // Those files that hold `key`, or what it was.
  Status CompactAround(std::string_view key);
  // Fails where the files it writes to have been deleted under it.
  Status CheckFiles() const;

 private:
  Store(std::string path, std::unique_ptr<rocksdb::DB> db);
  std::string path_;
  std::unique_ptr<rocksdb::DB> db_;
};

}  // namespace ecluse
