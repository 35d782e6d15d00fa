// People's own keys for commands that seal and open values: by the gate that runs, which keeps them, or else from their
// store itself, in which no gate can start meanwhile.
#pragma once

#include <boost/json.hpp>
#include <memory>
#include <optional>
#include <string>

#include "ledger/person_keys.h"
#include "policy/policy.h"
#include "vault/keys.h"
#include "vault/value_keys.h"

namespace ecluse {

// The ring's value_keys() for as long as this object lives. By one thread at a time.
class CommandValueKeys : public ValueKeys {
 public:
  // `policy` and `ring` must outlive it.
  CommandValueKeys(const Policy& policy, KeyRing& ring);
  ~CommandValueKeys() override;
  // Gives the store back, where it has it, until it is needed again: before the ledger is opened.
  void Close() { store_.reset(); }
  CommandValueKeys(const CommandValueKeys&) = delete;
  CommandValueKeys& operator=(const CommandValueKeys&) = delete;

  Result<std::vector<Secret>> Take(std::span<const KeyedSubject> people) override;
  // Of nobody where there is no store yet.
  Result<std::vector<Found>> Find(std::span<const KeyedSubject> people) override;

 private:
  using Wrapped = PersonKeys::WrappedValueKey;
  Result<std::vector<Wrapped>> FindWrapped(std::span<const KeyedSubject> people, bool make);
  Result<std::optional<std::string>> Ask(std::span<const KeyedSubject> people, bool make);

  const Policy& policy_;
  KeyRing& ring_;
  std::unique_ptr<PersonKeys> store_;  // from when it is first needed and no gate runs
  bool asked_ = false;                 // a gate runs
};

}  // namespace ecluse
