// The root generations: the keys under which people's keys are wrapped, so that they can be erased from every copy.
// Each is destroyed within the erasure horizon of when it was made, and lies outside the data folder, in a file of
// which no copy may be kept for longer. Format: docs/vault_format.md; why so: docs/decisions/erasure.md.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/secret.h"
#include "vault/ring_file.h"
#include "vault/xaes.h"

namespace ecluse {

class FileSystem;  // base/file.h

// The rule of an Error that says that what was wrapped was so under a generation that is gone.
inline constexpr std::string_view kGenerationGone = "vault.generation-gone";

// A generation as the ledger and `ecluse keys list` name it; never its key.
struct GenerationInfo {
  std::string id;    // 16 hexadecimal digits
  int64_t made = 0;  // microseconds since 1970, as the clock was then: a later one may have less
};

// Thread-safe, but for Make() and Destroy(): they belong to whoever holds the ledger's lock, one call at a time.
class Generations {
 public:
  // Of the file at `path`, under the gate's key-encryption key. A file that is not there yet holds none. Refuses one
  // that is not a regular file of mode 0600, damaged, or another gate's. `files` and `gate` outlive it.
  static Result<std::unique_ptr<Generations>> Open(FileSystem& files, std::string path, const WrappedKey& gate);

  // Under the newest, of which there must be one.
  std::string Wrap(std::string_view plain, std::string_view associated) const;
  // What any of them wrapped, or the gate's key-encryption key did before there were generations. 58030 where it does
  // not open: with kGenerationGone where its generation is gone. One that was made since is found in the file.
  Result<Secret> Unwrap(std::string_view wrapped, std::string_view associated);
  // Whether it is under the newest.
  bool UnderNewest(std::string_view wrapped) const;

  std::vector<GenerationInfo> List() const;  // the newest last
  const std::string& path() const { return path_; }

  // One more, made at `wall_micros`, durable and told of (OnMade) before it is the newest.
  Status Make(int64_t wall_micros);
  // Takes one that is not the newest out of the file: nothing that is wrapped under it opens any more.
  Status Destroy(const std::string& id);
  // Writes the file again where it has gone: true then.
  Result<bool> Mend();

  void OnMade(std::function<void(const GenerationInfo&)> made);

 private:
  struct Generation {
    GenerationInfo info;
    WrappedKey key;
  };
  Generations(FileSystem& files, std::string path, const WrappedKey& gate)
      : files_(files), path_(std::move(path)), gate_(gate) {}
  Result<std::vector<Generation>> Read() const;
  std::string Text(std::string_view without = {}) const;  // of the file; mutex_ held
  const Generation* Find(const KeyId& id) const;          // mutex_ held
  std::unexpected<Error> Broken(std::string detail) const;

  FileSystem& files_;
  const std::string path_;
  const WrappedKey& gate_;
  mutable std::shared_mutex mutex_;  // of what follows
  std::vector<Generation> all_;
  std::function<void(const GenerationInfo&)> made_;
};

}  // namespace ecluse
