// What the ledger tells of accounts: a `lock` entry for each that has come, gone or changed. The gate writes them,
// whoever changed the file and whether it ran then or not: docs/decisions/accounts-in-the-ledger.md.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "base/result.h"
#include "identity/accounts.h"
#include "ledger/ledger.h"
#include "vault/keys.h"

namespace ecluse {

// Not thread-safe.
class AccountLog {
 public:
  // `path` keeps what was written down last, without anything a password could be guessed from.
  AccountLog(Ledger& ledger, const KeyRing& keys, std::string path)
      : ledger_(ledger), keys_(keys), path_(std::move(path)) {}

  // Appends an entry for each account that is not as it was written down last, and remembers. Where that fails nothing
  // is remembered, and the next call writes them all (again): a change may stand in the ledger twice, and is never
  // missing. Blocks until the entries are durable.
  Status Record(const AccountMap& accounts, const std::string& policy_digest);

 private:
  using Facts = std::map<std::string, std::string>;  // organisation, roles, password, locked
  using Known = std::map<std::string, Facts>;        // by account
  Facts FactsOf(const Account& account) const;
  static std::string Difference(const Facts& before, const Facts& now);
  std::optional<Known> Load() const;
  Status Append(std::vector<EntryDraft> drafts);

  Ledger& ledger_;
  const KeyRing& keys_;
  const std::string path_;
  std::optional<Known> known_;
};

}  // namespace ecluse
