// Who went around the gate: PostgreSQL's own log beside the ledger. `ecluse ledger reconcile`.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "base/result.h"
#include "ledger/postgres_log.h"
#include "ledger/query.h"
#include "policy/policy.h"

namespace ecluse {

// Something that did not come by the gate.
struct Bypass {
  enum class Kind {
    other_user,  // a session on the register's database as a user that is not the gate's
    other_host,  // as one of the gate's logins, from where the gate is not
    other_name,  // as one of the gate's logins, under another application_name than the gate gives
    no_gate,     // as one of the gate's logins, between the stop of a gate and the start of the next
    no_entry,    // statements over people as a role's login, in minutes for which the ledger has no entry of that role
  };
  Kind kind = Kind::other_user;
  std::string user, host;
  uint64_t sessions = 0, statements = 0;
  int64_t first = 0, last = 0;  // microseconds since 1970
};

struct Reconciliation {
  std::vector<Bypass> bypasses;  // by kind, user and host
  std::vector<Bypass> known;     // of users that were named as known
  uint64_t records = 0;          // of the log that concern the register's database
  int64_t first = 0, last = 0;   // their times
  uint64_t statements = 0;       // over people, as roles' logins
  uint64_t entries = 0;          // of the ledger in that time, of roles
  bool connections = false;      // whether the log tells of connections
  bool gate_seen = false;        // whether it shows where the gate connects from
};

// Takes a log's records, then compares. Memory grows with users, hosts, sessions and minutes, not with records.
class Reconciler {
 public:
  // `known`: users whose sessions are in order (maintenance, backup); `gate_hosts`: from where the gate connects, or
  // empty: from where its own login does.
  Reconciler(const Policy& policy, std::set<std::string> known, std::set<std::string> gate_hosts);
  void Take(const PostgresRecord& record);
  Result<Reconciliation> Compare(LedgerQuery& ledger);

 private:
  struct Session {
    std::string user, host;
    int64_t first = 0, last = 0;
    bool entered = false;  // not only tried to
    uint64_t unnamed = 0;  // statements under another application_name than the gate gives, or none
    uint64_t statements = 0;
    std::map<int64_t, uint64_t> people;  // by minute: statements over people
  };
  static void Count(std::map<std::tuple<Bypass::Kind, std::string, std::string>, Bypass>& all, Bypass::Kind kind,
                    const Session& session, uint64_t statements);

  const Policy& policy_;
  const std::set<std::string> known_, own_;  // users
  std::set<std::string> gate_hosts_;
  std::map<std::string, std::vector<std::string>> views_;  // by login: how its guarded views are written
  std::map<std::string, std::string> roles_;               // by login
  std::map<std::string, Session> sessions_;
  Reconciliation out_;
};

}  // namespace ecluse
