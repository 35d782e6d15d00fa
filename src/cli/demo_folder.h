// The demonstration's folder: the files an operator would make by hand, written once and kept.
//
//   ecluse.yaml    the policy; may be edited between runs, only the two ports are kept up to date
//   accounts.yaml  the SCRAM verifiers of three accounts
//   root.key       opens the gate's keys
//   gate.crt/.key  a self-signed certificate for localhost
//   passwords      of the accounts, the register's owner and PostgreSQL's superuser; mode 0600
//   data/          the gate's own: ledger, wrapped keys
//   postgres/      the private PostgreSQL
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>

#include "base/result.h"

namespace ecluse::demo {

struct DemoAccount {
  const char* name;
  const char* role;
  const char* organisation;
  const char* purpose;
  const char* reference;  // may be empty
  const char* example;    // a statement worth trying
  const char* teaches;    // what it shows
};
extern const std::array<DemoAccount, 3> kAccounts;

// Where the gate finds PostgreSQL, and where it listens.
struct DemoPlaces {
  std::string socket_folder;
  uint16_t database_port = 0;
  uint16_t sql_port = 0;
};

// Made by one process at a time.
class DemoFolder {
 public:
  // Makes the folder (mode 0755, its secrets 0600) where it is missing, and its passwords, key and certificate. Fails
  // where another `ecluse demo` holds it.
  static Result<DemoFolder> Open(const std::string& path);
  ~DemoFolder();
  DemoFolder(DemoFolder&& other) noexcept;
  DemoFolder& operator=(DemoFolder&&) = delete;

  // "owner", "postgres", or an account's name.
  const std::string& Password(const std::string& whose) const { return passwords_.at(whose); }
  std::string File(const std::string& name) const { return path_ + "/" + name; }

  // The ports of the last run; zero where there was none.
  DemoPlaces LastPlaces() const;
  // Writes ecluse.yaml where there is none, or puts these places into the one that is there.
  Status WritePolicy(const DemoPlaces& places) const;
  // The three accounts with their passwords, added where they are missing from accounts.yaml.
  Status WriteAccounts() const;

 private:
  DemoFolder() = default;
  Status ReadOrMakePasswords();
  Status MakeCertificate() const;

  std::string path_;
  std::map<std::string, std::string> passwords_;
  int lock_ = -1;
};

// The demonstration's policy with these places in it.
std::string DemoPolicy(const DemoPlaces& places);

}  // namespace ecluse::demo
