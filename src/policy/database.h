// One blocking connection to PostgreSQL, for the operator's commands and for checks at start; never for clients'
// statements. A wrapper of libpq (PostgreSQL manual, chapter 34).
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/secret.h"
#include "policy/policy.h"

struct pg_conn;
struct pg_result;

namespace ecluse {

// A login of a role and its password, as PostgreSQL knows them.
struct LoginCredentials {
  std::string login;
  Secret password;
};

// The rows of one answer, as text. Move-only.
class Rows {
 public:
  explicit Rows(pg_result* result) : result_(result) {}
  Rows(Rows&& other) noexcept : result_(std::exchange(other.result_, nullptr)) {}
  Rows& operator=(Rows&& other) noexcept;
  ~Rows();

  int size() const;
  int columns() const;
  // Alive as long as the Rows. NULL reads as "".
  std::string_view At(int row, int column) const;
  std::string Text(int row, int column) const { return std::string(At(row, column)); }
  bool Null(int row, int column) const;
  bool True(int row, int column) const { return At(row, column) == "t"; }
  uint32_t Number(int row, int column) const;                // an oid or another unsigned number; 0 where it is none
  std::vector<std::string> List(int row, int column) const;  // a one-dimensional array

 private:
  friend class Database;
  pg_result* result_;
};

// Not thread-safe. Errors carry PostgreSQL's SQLSTATE and, in `operator_detail`, its whole text: the callers talk to
// the operator. Every connection runs with client_encoding UTF8 and search_path pg_catalog, so that what PostgreSQL
// prints of definitions is always fully qualified.
class Database {
 public:
  // `url`: postgres://owner@host/db or libpq's keyword form. Waits at most limits::kUpstreamConnect.
  static Result<Database> Connect(const std::string& url);
  // As a role's login to the policy's database. `wrong_password` (may be null) is set where the server refused the
  // password, which is another case than a server that cannot be reached.
  static Result<Database> ConnectAs(const DatabaseTarget& target, const LoginCredentials& credentials,
                                    bool* wrong_password = nullptr);

  // One statement with text parameters; nullopt is NULL.
  Result<Rows> Query(const std::string& sql, const std::vector<std::optional<std::string>>& parameters = {});
  // The same; where the answer is not there in time the connection is of no use any more.
  Result<Rows> Query(const std::string& sql, const std::vector<std::optional<std::string>>& parameters,
                     std::chrono::milliseconds within);
  // One or more statements, no answer wanted.
  Status Run(const std::string& sql);
  // What PostgreSQL names where it does not take rows: a column, a constraint, or neither.
  struct Refused {
    std::string column, constraint;
  };
  // The same; where PostgreSQL does not do it for the sake of rows, `refused` says what it names.
  Result<Rows> Query(const std::string& sql, const std::vector<std::optional<std::string>>& parameters,
                     Refused* refused);
  // Rows in COPY's text format, by a COPY … FROM STDIN with these columns. How many. Where the connection is in a
  // transaction it has failed with it. The Error of data, of constraints and of triggers (classes 22, 23, P0) holds
  // nothing of what PostgreSQL says, which quotes values.
  Result<uint64_t> CopyIn(const TableName& table, const std::vector<std::string>& columns, std::string_view rows,
                          Refused* refused);
  // A SCRAM-SHA-256 verifier as ALTER ROLE takes it, made here so that the password never stands in a server's log.
  Result<std::string> Verifier(std::string_view login, std::string_view password);
  int server_version() const;  // 150020

 private:
  struct Close {
    void operator()(pg_conn* connection) const;
  };
  explicit Database(pg_conn* connection) : connection_(connection) {}
  Error LastError(pg_result* result, std::string_view sql) const;
  std::unique_ptr<pg_conn, Close> connection_;
};

// "name" with quotes doubled; 'text' likewise, as an escape string where it holds a backslash.
std::string QuoteName(std::string_view name);
std::string QuoteText(std::string_view text);
std::string QuoteTable(const TableName& table);  // "schema"."name"
// The name as it fits PostgreSQL's length: whole, or cut at a character and ending in eight digits of a hash. `apart`
// tells names of one text from another: with it the hash, of both, always stands there.
std::string FittingName(const std::string& name, const std::string& apart = {});
// {"a","b"}: a parameter of type text[].
std::string TextArray(const std::vector<std::string>& items);

}  // namespace ecluse
