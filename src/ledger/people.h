// Who is behind a token: introductions, the store of person keys, and the index between keys and tokens.
#pragma once

#include <boost/unordered/unordered_flat_map.hpp>
#include <boost/unordered/unordered_flat_set.hpp>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/limits.h"
#include "base/result.h"
#include "ledger/entry.h"
#include "ledger/index.h"
#include "ledger/person_keys.h"
#include "ledger/render.h"
#include "ledger/segment.h"
#include "ledger/store.h"
#include "ledger/token_cache.h"
#include "ledger/writer.h"
#include "vault/keys.h"

namespace ecluse {

// What a `person` entry says, read back.
struct PersonEntry {
  SubjectToken token{};
  std::string sealed_id;  // envelope under the person's key
  EntryOrigin origin;
};
// nullopt where the entry introduces nobody.
Result<std::optional<PersonEntry>> ReadPersonEntry(std::string_view json);

// How the reason of a `key` entry begins that announces a new key; its id follows.
inline constexpr std::string_view kMadeKey = "made key ";
// And that two people destroy one; written before it goes.
inline constexpr std::string_view kNewRoot = "the keys are wrapped under the new root key ";  // and its id
inline constexpr std::string_view kDestroyKey = "two people destroy key ";
// And that the gate destroys a root generation.
inline constexpr std::string_view kDestroyGeneration = "destroys the root generation ";
// And the key of what statements quoted in a month, `2024-05`.
inline constexpr std::string_view kDestroyLiterals = "destroys the key of literals of ";
// What the reason of a `collection` entry begins with that tells of a load in bulk.
inline constexpr std::string_view kLoadEntry = "load of ";

// The id of the key that a `key` entry announces; nullopt for other entries.
Result<std::optional<std::string>> ReadKeyEntry(std::string_view json);

// `space:id` of a person entry, opened with the person's wrapped key.
Result<std::string> OpenPerson(const PersonEntry& entry, KeyRing& keys, std::string_view wrapped_key);

struct PeopleOptions {
  PersonKeysOptions keys;
  std::string index_path;  // <data_dir>/index
  SegmentFolder folder;
  EntryOrigin origin;
  bool fresh = false;  // a new ledger: the stores are made
  size_t backlog = limits::kIndexBacklog;
  size_t fill = limits::kIndexFill;
};

// Thread-safe, but for CatchUp().
class People {
 public:
  static Result<std::unique_ptr<People>> Open(PeopleOptions options, KeyRing& keys);
  ~People();

  PersonKeys& keys() { return *person_keys_; }

  // Brings the index up to `size` entries. Refuses where it knows more than the ledger holds: those were durable.
  Status CatchUp(uint64_t size);

  // The tokens of people, in their order; where one has none, hands their introduction to `writer` first.
  Result<std::vector<SubjectToken>> TokensOf(Writer& writer, std::span<const PersonName> people);

  // Takes what became durable; written to the index by a thread of its own.
  void Durable(DurableNews news);

  Result<std::vector<std::pair<SubjectToken, SubjectKey>>> KeysOf(std::span<const SubjectToken> tokens);

  using Deadline = std::chrono::steady_clock::time_point;
  // The token of somebody who can be erased: whom the index knows, and nobody is erasing. Nullopt where nobody has been
  // introduced by that name. Waits until their introduction is indexed.
  Result<std::optional<SubjectToken>> Erasable(const PersonName& person, const Writer& writer, Deadline until);
  // Whoever is erased is nobody's token any more from now on: they are introduced anew where they come again. Hands the
  // entry that says so to `writer`, which must write it sooner or later; as soon as it is durable and reached by the
  // index, their keys go. False, and nothing is handed on, where somebody else has begun meanwhile.
  bool BeginErasure(const PersonName& person, const SubjectToken& token, Writer& writer, QueuedEntry entry);
  // Waits until the index has reached what was durable before `size`, with what that erases.
  Status AwaitIndexed(uint64_t size, Deadline until);

  // Ids of keys that a `key` entry has announced.
  Result<bool> Announced(const std::string& key_id) const;

 private:
  People(PeopleOptions options, KeyRing& keys, std::unique_ptr<PersonKeys> persons, std::unique_ptr<Store> index);
  Result<QueuedEntry> Introduce(const PersonName& person);
  const SubjectToken* Known(const SubjectKey& key);  // mutex_ held
  // Of the people of one call, one who is not in memory.
  struct Newcomer {
    size_t number = 0;  // among the people of the call
    std::optional<SubjectToken> stored;
    std::optional<QueuedEntry> introduction;
  };
  Status LookUp(std::span<const PersonName> people, std::vector<Newcomer>& unknown) const;
  Status Erase(const IndexedEntry& entry);
  void Run();
  Status Round(DurableNews news, bool reread);
  Status IndexRange(uint64_t from, uint64_t end);
  void Indexed(const std::vector<Introduction>& introduced, const std::vector<SubjectToken>& erased,
               uint64_t size);  // mutex_ held

  const PeopleOptions options_;
  KeyRing& keys_;
  std::unique_ptr<PersonKeys> person_keys_;
  std::unique_ptr<Store> index_;
  IndexRows rows_;  // of CatchUp(), then of the thread alone

  std::mutex mutex_;
  TokenCache tokens_;
  // Introduced, and not in the index yet: never forgotten, or the person would be introduced twice.
  boost::unordered_flat_map<SubjectKey, SubjectToken, SubjectKeyHash> pending_;
  boost::unordered_flat_map<SubjectToken, SubjectKey, SubjectKeyHash> pending_keys_;
  boost::unordered_flat_set<SubjectToken, SubjectKeyHash> erasing_;  // and the index still knows them
  uint64_t flushes_ = 0;  // how often pending_ lost entries to the index, or the index people

  std::condition_variable changed_, indexed_to_;
  DurableNews news_;     // not in the index yet
  size_t backlog_ = 0;   // of news_.entries, people included
  bool reread_ = false;  // it grew too large: what is missing is read from the ledger
  uint64_t indexed_ = 0;
  bool index_failed_ = false;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace ecluse
