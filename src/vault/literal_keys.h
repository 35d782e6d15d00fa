// The keys under which the ledger seals what statements quoted: one a month, wrapped under a root generation, so that
// their end is the end of every copy too. Format: docs/vault_format.md.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "vault/generations.h"
#include "vault/keys.h"
#include "vault/ring_file.h"

namespace ecluse {

class FileSystem;  // base/file.h

// Thread-safe. Only who holds the ledger's lock makes, wraps and destroys.
class LiteralKeys {
 public:
  // In `folder`, which is there. All outlive it.
  LiteralKeys(FileSystem& files, std::string folder, Generations& generations)
      : files_(files), folder_(std::move(folder)), generations_(generations) {}

  // Under the key of the month of `wall_micros` (UTC), which is made, durable and told of (OnMade) on first use.
  Result<std::string> Seal(int64_t wall_micros, std::string_view plain, std::string_view associated);
  // Nullopt where the key of its month was destroyed. 58030 where it does not open otherwise.
  Result<std::optional<std::string>> Open(std::string_view sealed, std::string_view associated);

  // Wraps every key under the newest generation; those that were lost with theirs are left.
  Status WrapAnew();
  // Destroys the keys of months that had ended at `wall_micros`, telling of each before; none that could not be told
  // of.
  Status DestroyEndedBefore(int64_t wall_micros, const std::function<Status(const std::string& month)>& tell);

  Result<std::vector<KeyInfo>> List() const;  // by month
  void OnMade(std::function<void(const KeyInfo&)> made);

 private:
  using Month = std::shared_ptr<const WrappedKey>;
  Result<Month> KeyOf(int64_t month, bool make);
  Result<Month> Load(const std::string& name) const;
  Status Keep(const std::string& name, const WrappedKey& key) const;
  Result<std::vector<std::string>> Names() const;
  std::unexpected<Error> Damaged(const std::string& name) const;

  FileSystem& files_;
  const std::string folder_;
  Generations& generations_;
  mutable std::mutex mutex_;  // of what follows
  std::map<int64_t, Month> months_;
  std::function<void(const KeyInfo&)> made_;
};

}  // namespace ecluse
