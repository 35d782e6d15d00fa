// The stores of people's keys: what opens the id behind a token, and values of theirs in the register. Keys go when
// their person is erased, from the stores at once and from every copy of them within the erasure horizon: they are
// wrapped under root generations, which are made, and destroyed, in time. docs/decisions/erasure.md.
#pragma once

#include <atomic>
#include <boost/unordered/unordered_flat_set.hpp>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "ledger/entry.h"
#include "ledger/record.h"
#include "ledger/store.h"
#include "vault/generations.h"
#include "vault/keys.h"
#include "vault/value_keys.h"

namespace ecluse {

// What a person's wrapped key is bound to.
std::string WrapBinding(const SubjectToken& token);
// And the one of their values.
std::string ValueWrapBinding(const KeyedSubject& person);

struct PersonKeysOptions {
  std::string data_dir;
  Store::Mode mode = Store::Mode::existing;
  const Clock* clock = nullptr;
  // Within which what was erased is to go from every copy. Without one no generation is made but a first, and none
  // destroyed.
  std::optional<std::chrono::microseconds> horizon;
  // For which literals are kept, behind the end of their month.
  std::optional<std::chrono::microseconds> literals_retention;
  // Of the ledger's last entry. A clock that is further ahead of it than the horizon is believed only once it has gone
  // on for a tenth of that: until then nothing is destroyed.
  std::optional<int64_t> last_time{};
};

// Of whoever holds the ledger's lock. Thread-safe. The ring has it as its value_keys(), for as long as it lives.
class PersonKeys : public ValueKeys {
 public:
  // Makes a first generation where there is none. Refuses where the file of generations lacks one that was in use here
  // last: then it, or the data folder, was put back from an older copy.
  static Result<std::unique_ptr<PersonKeys>> Open(PersonKeysOptions options, KeyRing& keys);
  ~PersonKeys() override;

  // Of a row of a store: what the key in it is bound to, and where it stands in the value.
  struct Parts {
    std::string (*binding)(std::string_view key);
    std::string_view (*key)(std::string_view value);
  };

  // What is told before a generation or a key of literals is destroyed; it is not where that fails. Before Begin().
  void Tell(std::function<Status(std::string reason)> tell) { tell_ = std::move(tell); }
  // From now on a thread keeps generations in time, until Stop(): behind that nothing is told any more.
  void Begin();
  void Stop();
  // What that thread does from time to time: makes the next generation when the newest is half a horizon old, wraps
  // every key under it, those of literals too, and destroys generations that are as old as the horizon, and keys of
  // literals that are kept no longer. Interrupted anywhere, it goes on.
  Status Renew();
  // The last Renew() failed: what is erased stays in copies for longer than promised.
  bool late() const { return late_; }

  Store& store() { return *store_; }

  using Wrapped = std::pair<SubjectToken, std::string>;
  // Durable, and under the newest generation, when it returns.
  Status Add(std::vector<Wrapped> keys);
  // Gone from the store and its files when it returns; false where it was not there.
  Result<bool> Destroy(const SubjectToken& token);
  // Whom ledgers name that were put away, `space:id`. Reads those whole.
  struct InFormer {
    std::vector<SubjectToken> tokens;     // of that person
    std::vector<std::string> unreadable;  // ledgers that may name them too, and why that cannot be told
  };
  InFormer FindInFormer(std::string_view name);
  // Destroys keys in the stores of those ledgers.
  Status DestroyInFormer(std::span<const SubjectToken> tokens);

  Result<std::vector<Secret>> Take(std::span<const KeyedSubject> people) override;
  Result<std::vector<Found>> Find(std::span<const KeyedSubject> people) override;
  // Still wrapped, for another process that has the ring: empty where they have none. With `make`, as by Take().
  struct WrappedValueKey {
    std::string wrapped;
    bool erased = false;  // ValueKeys::Found
  };
  Result<std::vector<WrappedValueKey>> FindWrapped(std::span<const KeyedSubject> people, bool make);
  static Result<Secret> UnwrapValueKey(KeyRing& ring, const KeyedSubject& person, std::string_view wrapped);

  // From now on nobody gets the key of their values, until it is destroyed.
  void BeginErasure(const KeyedSubject& person);
  // By which entry somebody is erased.
  struct Erasure {
    LedgerId ledger{};
    uint64_t seq = 0;
  };
  // Gone from the store and its files when it returns; what stays says by which entry they were erased. Nothing where
  // they have none, or were erased by that entry or a later one: a key that was made since stays.
  Status DestroyValueKey(const KeyedSubject& person, const Erasure& by);

 private:
  PersonKeys(PersonKeysOptions options, KeyRing& keys, std::unique_ptr<Store> store, std::unique_ptr<Store> values)
      : options_(std::move(options)),
        keys_(keys),
        generations_(keys.generations()),
        store_(std::move(store)),
        values_(std::move(values)),
        attached_before_(keys.value_keys()),
        opened_wall_(options_.clock->WallMicros()),
        opened_boot_(options_.clock->BootMicros()) {}
  void Run();
  bool Stopping() const;
  Status CheckGeneration() const;
  Status NoteGeneration() const;
  Status MakeGeneration();
  bool ClockIsBelieved() const;
  Result<std::vector<std::string>> Former() const;
  Status FindInFormer(const std::string& folder, std::string_view name, std::vector<SubjectToken>* tokens);
  Status WrapAnew(Store& store, const Parts& parts);
  Status WrapAllAnew();
  Result<bool> WrapAnew(Store& store, const Parts& parts, std::string* from);

  const PersonKeysOptions options_;
  KeyRing& keys_;
  Generations& generations_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<Store> values_;  // by KeyedSubject: docs/vault_format.md
  ValueKeys* const attached_before_;
  const int64_t opened_wall_, opened_boot_;
  std::function<Status(std::string)> tell_ = [](const std::string&) { return Status(); };
  std::atomic<bool> late_ = false;

  std::mutex keys_mutex_;  // keys are read and written back, or removed, or a generation is made
  boost::unordered_flat_set<KeyedSubject, SubjectKeyHash> erasing_;  // their values; under keys_mutex_
  std::mutex former_mutex_;                                          // stores of ledgers that were put away are open
  std::string wrapped_under_;  // the generation that every key is under; of Renew()

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace ecluse
