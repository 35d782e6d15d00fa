// The index: who is behind a token, and where entries lie that name a person or were caused by an account, under a
// role, from an address. Derived from the ledger; keys and values: docs/ledger_format.md, "Index".
#pragma once

#include <array>
#include <boost/unordered/unordered_flat_set.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/result.h"
#include "ledger/entry.h"
#include "ledger/record.h"
#include "ledger/segment.h"
#include "ledger/store.h"
#include "vault/keys.h"

namespace ecluse {

// By what, beside people, entries are found.
enum class Facet { principal, role, address };

namespace index_format {

inline constexpr std::string_view kMeta = "v4";

struct TokenValue {
  SubjectKey key{};
  uint64_t seq = 0;  // of the introduction
};
struct Meta {
  uint64_t size = 0;   // entries indexed
  std::string ledger;  // its id
  RecordPlace last;    // of the last of them
};

std::string KeyOfSubject(const SubjectKey& key);
std::string KeyOfToken(const SubjectToken& token);
std::string KeyOfAnnounced(std::string_view key_id);
// The two kinds of a Place.
inline constexpr char kNamed = 's', kFacet = 'f';
// `facet` as HMAC under the index key: an address is sealed in the ledger.
SubjectKey FacetKey(const KeyRing& keys, Facet facet, std::string_view value);
std::string KeyOfClosed(uint64_t seq);
std::string KeyOfBundle(uint64_t number);
// Entries of one person or facet, in order, as one row: `seqs` are one at least, kPlacesTogether at most.
std::string KeyOfPlaces(char kind, const SubjectKey& of, uint64_t last);
std::string EncodePlaces(std::span<const uint64_t> seqs);
// nullopt where the row is none.
std::optional<std::vector<uint64_t>> DecodePlaces(std::string_view key, std::string_view value);

std::string Encode(const TokenValue& value);
std::optional<TokenValue> DecodeToken(std::string_view bytes);
std::string Encode(const Meta& meta);
std::optional<Meta> DecodeMeta(std::string_view bytes);

}  // namespace index_format

// What it says cannot be: how to have it made again.
std::unexpected<Error> IndexDamaged();

// What the index knows an entry by.
struct IndexedEntry {
  uint64_t seq = 0;
  size_t length = 0;  // as stored
  std::string principal, role, address;
  std::vector<SubjectToken> people;  // some may stand there more than once
  bool closed = false;               // what it seals does not open
  // It says that whom it names is erased by key (entry.h, kErasedByKey).
  bool erases = false;
};
// Takes out of the index what tells of entries before `end`, and of the people whose tokens are `gone`.
Status PruneIndex(Store& index, uint64_t end, const boost::unordered_flat_set<SubjectToken, SubjectKeyHash>& gone);

// Takes out who is behind a token; whom the same person is known by since stays.
Status ForgetPerson(Store& index, const SubjectToken& token);

// Of a draft that is not needed any more.
IndexedEntry IndexedBy(EntryDraft&& draft);

// Rows of the index. Not thread-safe.
class IndexRows {
 public:
  using Pairs = std::vector<std::pair<std::string, std::string>>;
  explicit IndexRows(const KeyRing& keys) : keys_(keys) {}
  // In the order of entries. Those of a bundle that are not all added have no lengths.
  void Add(const IndexedEntry& entry);
  size_t size() const { return places_.size(); }  // at least as many as Take() has rows of them
  // Appends the rows of what was added since, and begins anew.
  void Take(Pairs& out);

 private:
  // One entry of one person or facet.
  struct Place {
    char kind;
    SubjectKey of;
    uint64_t seq;
    auto operator<=>(const Place&) const = default;
  };
  const SubjectKey& KeyOf(Facet facet, const std::string& value);
  const KeyRing& keys_;
  std::vector<Place> places_;
  std::vector<uint64_t> closed_;
  uint64_t next_ = 0;                                   // behind the entry added last
  std::string lengths_;                                 // of the entries of a bundle so far
  std::vector<std::pair<uint64_t, std::string>> full_;  // bundles, and the lengths of all their entries
  std::array<std::unordered_map<std::string, SubjectKey>, 3> known_;
};

// Reads the index as it is at this moment, also beside the gate that writes it. Thread-safe.
class IndexReader {
 public:
  // An index that is missing, of another version or of another ledger counts as one that knows nothing.
  static IndexReader Open(const std::string& data_dir, const LedgerId& ledger, const KeyRing& keys);

  uint64_t size() const { return size_; }            // entries it knows
  const RecordPlace& last() const { return last_; }  // where the last of them lay, where that is known
  Result<std::optional<SubjectToken>> TokenOf(std::string_view space, std::string_view id) const;
  // The entry that introduces a token.
  Result<std::optional<uint64_t>> IntroductionOf(const SubjectToken& token) const;
  // The entries from `first` up to, not including, `end`, in order.
  Result<std::vector<uint64_t>> Naming(const SubjectToken& token, uint64_t first, uint64_t end) const;
  // Those whose sealed part did not open when they were indexed.
  Result<std::vector<uint64_t>> Closed(uint64_t first, uint64_t end) const;
  // Where in its full bundle an entry begins; nullopt where that is not known.
  std::optional<uint64_t> PlaceInBundle(uint64_t seq) const;
  Result<std::vector<uint64_t>> By(Facet facet, std::string_view value, uint64_t first, uint64_t end) const;

 private:
  explicit IndexReader(const KeyRing& keys) : keys_(&keys) {}
  Result<std::vector<uint64_t>> Range(char kind, const SubjectKey& of, uint64_t first, uint64_t end) const;
  const KeyRing* keys_;
  std::unique_ptr<Store> store_;
  uint64_t size_ = 0;
  RecordPlace last_;
};

}  // namespace ecluse
