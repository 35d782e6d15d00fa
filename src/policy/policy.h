// The policy as loaded from one YAML file: validated, immutable, shared by snapshot.
//
// Format: docs/policy.md. A Policy that exists is valid: every reference in it resolves inside the file. What only the
// database can tell (do the tables exist, does a mask fit the column's type) is checked against a Catalog by Compile().
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "tlog/note.h"
#include "vault/root_source.h"

namespace ecluse {

struct TableName {
  std::string schema;
  std::string name;
  auto operator<=>(const TableName&) const = default;
  std::string Text() const { return schema + "." + name; }  // as the policy writes it
};

// What a role sees of a column (docs/policy.md, "Masks").
struct Mask {
  enum class Kind { clear, hidden, redacted, initial, last4, year, month, range, pseudonym };
  Kind kind = Kind::hidden;
  int64_t step = 0;  // of range(n)
  auto operator<=>(const Mask&) const = default;
  std::string Text() const;  // "clear", "range(10)"
};

// Where in the policy file something stands; both 1-based.
struct Mark {
  int line = 0;
  int column = 0;
};

// The compartment of tables that name none.
inline constexpr std::string_view kMainCompartment = "main";

// How a sealed column can be searched: the blind indexes beside it (docs/vault_format.md).
struct Sealing {
  bool equality = false;
  unsigned prefix = 0;  // by its first 1 … prefix characters; 0: not
  bool phonetic = false;
  int64_t range = 0;           // between bounds that stand on multiples of it; 0: not
  bool range_of_time = false;  // `range` is in seconds, else a number
  // It is the subject column of a table in a compartment: a pseudonym stands in it, found by itself, and no token.
  bool link = false;
  auto operator<=>(const Sealing&) const = default;
};

struct PolicyColumn {
  std::string name;
  std::string column_class;
  std::optional<Sealing> sealed;
  Mark mark;
};

struct PolicyTable {
  TableName name;
  // Whom a row is about. Either `subject_columns` is not empty, or `via` and `via_key` are set: the subjects of the
  // rows of `via` whose `via_key` equals this table's column of the same name.
  std::vector<std::string> subject_columns;
  std::optional<TableName> via;
  std::string via_key;
  std::string space = "person";
  std::vector<PolicyColumn> columns;  // in the file's order
  // Whose keys its values are sealed under. In any other than kMainCompartment its one subject column holds pseudonyms,
  // and is a sealed column with Sealing::link.
  std::string compartment{kMainCompartment};
  bool accepts_existence = false;
  std::optional<std::pair<std::string, std::chrono::seconds>> retention;
  bool own_keys = false;                  // `erasure: per_person`: values are sealed under their person's own key too
  std::vector<std::string> erased_clear;  // columns in clear that `ecluse erase` sets to NULL
  Mark mark;

  const PolicyColumn* Find(std::string_view column) const;  // null where there is none
  bool linked() const { return compartment != kMainCompartment; }
};

struct Window {
  enum class Counts { subjects, lookups, failures };
  Counts counts = Counts::subjects;
  int64_t limit = 0;
  std::chrono::seconds per{0};
  std::string Text() const;  // "60 subjects per 1h"
  auto operator<=>(const Window&) const = default;
};

// What a role may write in one table: statement kinds, and for insert and update the columns.
struct WriteRight {
  std::set<std::string> insert_columns;
  std::set<std::string> update_columns;
  bool may_delete = false;
};

struct Statistics {
  int64_t min_subjects = 11;
  std::map<TableName, std::set<std::string>> by;  // columns one may group and filter by
  std::map<TableName, std::set<std::string>> of;  // columns one may aggregate
  int64_t rows = 1000;                            // statistic rows per `per`
  std::chrono::seconds per{86'400};
};

// Days and minutes of the week in which a role may work, in one time zone.
struct Hours {
  std::string time_zone = "UTC";
  struct Span {
    int first_day = 0, last_day = 6;         // Monday is 0; first may be after last (Sat-Mon)
    int from_minute = 0, to_minute = 1'440;  // of the day
  };
  std::vector<Span> spans;
};

struct Role {
  std::string name;
  std::set<std::string> purposes;
  // For each table the role reads: the mask of every policy column of that table (class defaults already applied; a
  // column that the role's `read` does not name is `hidden`).
  std::map<TableName, std::map<std::string, Mask>> read;
  std::map<TableName, std::string> rows;  // SQL conditions
  // Sealed columns that it may search without reading them clear.
  std::map<TableName, std::set<std::string>> search;
  std::map<TableName, WriteRight> write;
  std::vector<Window> budgets;  // `failures` is always among them (20 an hour unless said otherwise)
  std::optional<Statistics> statistics;
  std::chrono::seconds idle{900};
  std::chrono::seconds lifetime{36'000};
  Hours hours;
  bool may_export = false;
  Mark mark;
};

struct Purpose {
  enum class Reference { none, optional, required };
  Reference reference = Reference::optional;
};

struct Listen {
  std::string address;
  uint16_t port = 0;
  std::string certificate;  // PEM path; empty only where allow_cleartext
  std::string key;
};

struct DatabaseTarget {
  std::string host;  // a name, an address, or a folder that holds a Unix socket
  uint16_t port = 5432;
  std::string name;
  enum class Tls { disable, require, verify_ca, verify_full };
  Tls tls = Tls::verify_full;
  std::string ca;
};

// Somebody elsewhere who cosigns the ledger's checkpoints (C2SP tlog-witness).
struct PolicyWitness {
  VerifierKey key;  // of type cosignature; its name is the witness's
  std::string url;  // as written, for messages
  bool tls = false;
  std::string host;
  uint16_t port = 0;
  std::string target;  // of the request: the path with "/add-checkpoint" behind it
};

struct Policy {
  std::string register_name;
  std::string digest;  // lower-case hex SHA-256 of the file's canonical content (comments and layout do not count)
  std::string file;    // the path it was loaded from

  // gate
  std::string data_dir;  // absolute
  std::optional<Listen> sql;
  DatabaseTarget database;
  bool allow_cleartext = false;
  std::chrono::seconds statement_timeout{60};

  std::map<std::string, Purpose> purposes;
  std::map<TableName, PolicyTable> tables;
  std::set<TableName> open_tables;
  std::map<std::string, Role> roles;
  std::vector<Window> per_address, per_organisation, per_register;
  std::set<std::string> functions;  // beyond the built-in allow-list; schema-qualified

  std::string accounts_file;                           // absolute
  RootSource root;                                     // its paths are absolute
  std::chrono::seconds erasure_horizon{604'800};       // within which whoever is erased goes from every copy
  std::chrono::seconds ledger_retention{94'608'000};   // what is older may be removed: `ecluse ledger prune`
  std::chrono::seconds literals_retention{7'776'000};  // of what statements quoted, behind the end of their month
  std::chrono::seconds checkpoint_every{1};
  std::vector<PolicyWitness> witnesses;
  size_t required_witnesses = 0;  // whose cosignatures a release must not wait for longer than
  std::chrono::seconds witness_grace{3'600};

  // Of all budgets and limits: what happened longer ago than this weighs on nobody.
  std::chrono::seconds LongestWindow() const;

  // Those of its tables, kMainCompartment among them.
  std::vector<std::string> Compartments() const;

  // The PostgreSQL login and schema of a role: "ecluse_<register>_<role>".
  std::string LoginOf(const std::string& role) const;
  // The gate's own, for what belongs to no role: "ecluse_<register>__gate" (no role is named "_gate").
  std::string GateLogin() const;
  // All of them.
  std::vector<std::string> Logins() const;
};

// One thing that is wrong in a policy file: `file:line:column: what is wrong; what is allowed`.
struct PolicyProblem {
  Mark mark;
  std::string message;
  bool warning = false;  // printed by check, does not refuse
};

// Loads and validates. On failure every problem at once, in file order; on success warnings may remain in `warnings`.
std::expected<std::shared_ptr<const Policy>, std::vector<PolicyProblem>> LoadPolicy(
    const std::string& path, std::vector<PolicyProblem>* warnings);
// The same over a text already read. `path` names it in messages and is what relative paths are relative to.
// `text` is any bytes; never throws.
std::expected<std::shared_ptr<const Policy>, std::vector<PolicyProblem>> ParsePolicy(
    std::string_view text, const std::string& path, std::vector<PolicyProblem>* warnings);

// `file:line:column: what is wrong; what is allowed`, with "warning: " before a warning's text.
std::string ProblemText(const std::string& file, const PolicyProblem& problem);

}  // namespace ecluse
