// Names of people as `space:id`, for whoever reads a ledger: through the index where it knows them, else through
// introductions read on the way.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "ledger/entries.h"
#include "ledger/index.h"
#include "ledger/store.h"
#include "vault/keys.h"

namespace ecluse {

struct PersonEntry;  // people.h

// Not thread-safe.
class Names {
 public:
  // `index` and `keys` outlive it.
  Names(const SegmentFolder& folder, const std::string& data_dir, const IndexReader& index, KeyRing& keys);

  // To be told of entries that the index does not know; others are passed over.
  void Saw(const EntryView& entry);
  // nullopt where the person's key is gone or does not open, or the token is unknown; fails where that cannot be told.
  Result<std::optional<std::string>> NameOf(const SubjectToken& token);
  // The same for many, in their order.
  Result<std::vector<std::optional<std::string>>> NamesOf(std::span<const SubjectToken> tokens);
  // Of the person whom an entry introduces; nullopt where it introduces nobody.
  Result<std::optional<std::string>> NameIn(const EntryView& entry);

 private:
  Result<std::optional<uint64_t>> IntroductionOf(const SubjectToken& token) const;
  void OpenPersons(uint64_t introduced);
  Result<std::optional<std::string>> WrappedKey(const SubjectToken& token) const;
  Result<std::optional<std::string>> NameOf(const PersonEntry& person) const;

  Entries entries_;
  const std::string persons_path_;
  const IndexReader& index_;
  KeyRing& keys_;
  std::unique_ptr<Store> persons_;  // null: not opened yet, or in vain
  Error failure_;                   // why
  uint64_t seen_to_;                // entries told of
  uint64_t opened_to_ = 0;          // persons_ was opened when those before this one had been introduced
  std::unordered_map<SubjectToken, uint64_t, SubjectKeyHash> seen_;
  std::unordered_map<SubjectToken, std::string, SubjectKeyHash> recent_;
};

}  // namespace ecluse
