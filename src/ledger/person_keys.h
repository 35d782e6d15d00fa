// The stores of people's keys: what opens the id behind a token. A key goes when its person is erased, from the store
// at once and from every copy of it within the erasure horizon: keys are wrapped under root generations, which are
// made, and destroyed, in time. docs/decisions/erasure.md.
#pragma once

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
#include "ledger/store.h"
#include "vault/generations.h"
#include "vault/keys.h"

namespace ecluse {

// What a person's wrapped key is bound to.
std::string WrapBinding(const SubjectToken& token);

struct PersonKeysOptions {
  std::string data_dir;
  Store::Mode mode = Store::Mode::existing;
  const Clock* clock = nullptr;
  // Within which what was erased is to go from every copy. Without one no generation is made but a first, and none
  // destroyed.
  std::optional<std::chrono::microseconds> horizon;
  // For which literals are kept, behind the end of their month.
  std::optional<std::chrono::microseconds> literals_retention;
};

// Of whoever holds the ledger's lock. Thread-safe.
class PersonKeys {
 public:
  // Makes a first generation where there is none. Refuses where the file of generations lacks one that was in use here
  // last: then it, or the data folder, was put back from an older copy.
  static Result<std::unique_ptr<PersonKeys>> Open(PersonKeysOptions options, KeyRing& keys);
  ~PersonKeys();

  // What is told when a generation or a key of literals is destroyed, before it is. Before Begin().
  void Tell(std::function<void(std::string reason)> tell) { tell_ = std::move(tell); }
  // From now on a thread keeps generations in time, until Stop(): behind that nothing is told any more.
  void Begin();
  void Stop();
  // What that thread does from time to time: makes the next generation when the newest is half a horizon old, wraps
  // every key under it, those of literals too, and destroys generations that are as old as the horizon, and keys of
  // literals that are kept no longer. Interrupted anywhere, it goes on.
  Status Renew();

  Store& store() { return *store_; }

  using Wrapped = std::pair<SubjectToken, std::string>;
  // Durable, and under the newest generation, when it returns.
  Status Add(std::vector<Wrapped> keys);
  // Gone from the store and its files when it returns. Of those that are not there nothing is said.
  Status Destroy(const SubjectToken& token);
  // The same for somebody whom ledgers name that were put away: how many of them did. Reads those whole.
  Result<uint64_t> DestroyInFormer(std::string_view name);

 private:
  PersonKeys(PersonKeysOptions options, KeyRing& keys, std::unique_ptr<Store> store)
      : options_(std::move(options)), keys_(keys), generations_(keys.generations()), store_(std::move(store)) {}
  void Run();
  bool Stopping() const;
  Status CheckGeneration() const;
  Status MakeGeneration();
  Result<std::vector<std::string>> Former() const;
  Status WrapAnew(Store& store);
  Status WrapAllAnew();
  Result<bool> WrapAnew(Store& store, std::string* from);

  const PersonKeysOptions options_;
  KeyRing& keys_;
  Generations& generations_;
  std::unique_ptr<Store> store_;
  std::function<void(std::string)> tell_ = [](const std::string&) {};

  std::mutex keys_mutex_;      // keys are read and written back, or removed, or a generation is made
  std::mutex former_mutex_;    // stores of ledgers that were put away are open
  std::string wrapped_under_;  // the generation that every key is under; of Renew()

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace ecluse
