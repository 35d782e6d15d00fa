// What an operator changes about the keys of a data folder: new data keys, a new root, destruction. Each takes the
// ring's lock and is durable when it returns; a running gate takes it over with KeyRing::TakeRing().
// docs/decisions/rotation.md.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "vault/keys.h"
#include "vault/root_source.h"

namespace ecluse {

class FileSystem;  // base/file.h
class RootKey;     // root_key.h

// The keys that an operator may change: the root, and the ring under it. `files` outlives it; null: the real ones.
class KeyChanges {
 public:
  KeyChanges(RootSource root, const std::string& data_dir, FileSystem* files = nullptr);

  // One more data key for each of these compartments, or for none; they seal from now on.
  Result<std::vector<KeyInfo>> AddDataKeys(std::span<const std::string> compartments);

  // Makes a root in the place of the one in a file, or one more in the token, and wraps the ring under it, the
  // key-encryption keys of compartments made anew. Interrupted anywhere, it is called again; of a file it then needs
  // what opens the former root too, and until then KeyRing::Open() may refuse and say so. A token keeps the former one,
  // which DestroyRoot() destroys. Refuses links. The id of the root that the ring is under now.
  Result<std::string> RenewRoot(bool passphrase);

  // Of a root in a token: the one the ring is under, and those it holds besides, in no order.
  struct Roots {
    std::string own;
    std::vector<std::string> others;
  };
  Result<Roots> TokenRoots();

  // Destroys one of the others: no copy of a ring that was wrapped under it opens any more. `first` is called when
  // nothing but the token itself can hinder it any more, under the ring's lock; its error is returned, and nothing
  // done.
  Status DestroyRoot(const std::string& id, const std::function<Status()>& first);

  // One more search key for each of these compartments that has not two already; and in those of them named in
  // `unlinked` as well, in which no pseudonym is, another linking key. Until EndSearchKeys() nothing of these
  // compartments is sealed or searched (CompartmentKeys::renewing). Only while nobody else uses the ring. What is new.
  Result<std::vector<KeyInfo>> BeginSearchKeys(std::span<const std::string> compartments,
                                               std::span<const std::string> unlinked);
  // Takes the former of two search keys out of the ring. Every token must be under the other.
  Status EndSearchKeys();

  // Takes a data key out of the ring: nothing that is sealed under it opens any more. Refuses one that is not there,
  // and the one that seals. Destroying one that values are under destroys those: see to it first.
  Status DestroyDataKey(const std::string& id);

 private:
  // With the ring's lock, the ring, and the root it is under.
  struct Opened;
  Result<Opened> Open();
  // Writes the ring, which must open.
  Status Replace(RootKey& root, const std::string& content);
  Result<std::string> RenewTokenRoot();
  Result<std::string> FinishRenewal();
  Status TakePlace();

  const RootSource root_;
  const std::string folder_, path_;
  FileSystem& files_;
};

}  // namespace ecluse
