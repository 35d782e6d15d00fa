#include "policy/database.h"

#include <libpq-fe.h>
#include <openssl/sha.h>
#include <poll.h>

#include <algorithm>
#include <charconv>

#include "base/bytes.h"
#include "base/limits.h"

namespace ecluse {
namespace {

std::string Trimmed(const char* message) {
  std::string text = message == nullptr ? "" : message;
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  return text;
}

const char* TlsMode(DatabaseTarget::Tls tls) {
  switch (tls) {
    case DatabaseTarget::Tls::disable:
      return "disable";
    case DatabaseTarget::Tls::require:
      return "require";
    case DatabaseTarget::Tls::verify_ca:
      return "verify-ca";
    case DatabaseTarget::Tls::verify_full:
      return "verify-full";
  }
  return "verify-full";
}

// The column that the context of an error names: "COPY person, line 1, column risk: …", in whatever language the server
// speaks. Empty where it names none of `columns`.
std::string ColumnOf(std::string_view context, const std::vector<std::string>& columns) {
  for (int i = 0; i < 2; ++i) {
    const size_t comma = context.find(", ");
    if (comma == std::string_view::npos || context.substr(0, comma).contains(':')) return {};
    context.remove_prefix(comma + 2);
  }
  const size_t space = context.find(' ');
  if (space == std::string_view::npos) return {};
  context.remove_prefix(space + 1);
  std::string found;
  for (const std::string& column : columns)
    if (context.starts_with(column) && column.size() > found.size()) found = column;
  return found;
}

}  // namespace

Rows& Rows::operator=(Rows&& other) noexcept {
  std::swap(result_, other.result_);
  return *this;
}
Rows::~Rows() { PQclear(result_); }
int Rows::size() const { return PQntuples(result_); }
int Rows::columns() const { return PQnfields(result_); }
std::string_view Rows::At(int row, int column) const {
  return {PQgetvalue(result_, row, column), static_cast<size_t>(PQgetlength(result_, row, column))};
}
bool Rows::Null(int row, int column) const { return PQgetisnull(result_, row, column) != 0; }
uint32_t Rows::Number(int row, int column) const {
  uint32_t value = 0;
  std::string_view text = At(row, column);
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

std::vector<std::string> Rows::List(int row, int column) const {
  // PostgreSQL's array text (manual, 8.15.6): {a,"b \"c\"",NULL}
  std::vector<std::string> items;
  std::string_view text = At(row, column);
  if (text.size() < 2 || text == "{}") return items;
  std::string item;
  bool quoted = false;
  for (size_t i = 1; i + 1 < text.size(); ++i) {
    if (text[i] == '\\') {
      item += text[++i];
    } else if (text[i] == '"') {
      quoted = !quoted;
    } else if (text[i] == ',' && !quoted) {
      items.push_back(std::exchange(item, {}));
    } else {
      item += text[i];
    }
  }
  items.push_back(std::move(item));
  return items;
}

void Database::Close::operator()(pg_conn* connection) const { PQfinish(connection); }

Error Database::LastError(pg_result* result, std::string_view sql) const {
  const char* state = result == nullptr ? nullptr : PQresultErrorField(result, PG_DIAG_SQLSTATE);
  const char* primary = result == nullptr ? nullptr : PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
  Error error;
  error.sqlstate = state == nullptr ? "08006" : state;
  error.message = primary == nullptr ? Trimmed(PQerrorMessage(connection_.get())) : primary;
  error.operator_detail = Trimmed(result == nullptr ? PQerrorMessage(connection_.get()) : PQresultErrorMessage(result));
  constexpr size_t kShown = 2'000;
  error.operator_detail += "\nstatement: " + std::string(sql.substr(0, kShown));
  return error;
}

Result<Database> Database::Connect(const std::string& url) {
  const std::string seconds = std::to_string(std::chrono::seconds(limits::kUpstreamConnect).count());
  const char* keywords[] = {"connect_timeout", "application_name", "client_encoding", "dbname", nullptr};
  const char* values[] = {seconds.c_str(), "ecluse", "UTF8", url.c_str(), nullptr};
  Database database(PQconnectdbParams(keywords, values, /*expand_dbname=*/1));
  if (PQstatus(database.connection_.get()) != CONNECTION_OK) {
    return Fail("08001", "the database cannot be reached: " + Trimmed(PQerrorMessage(database.connection_.get())),
                "give the owner's connection, as --owner postgres://owner@host/database");
  }
  ECLUSE_OK(database.Run("SET search_path TO pg_catalog; SET standard_conforming_strings TO on"));
  return database;
}

Result<Database> Database::ConnectAs(const DatabaseTarget& target, const LoginCredentials& credentials,
                                     bool* wrong_password) {
  const std::string seconds = std::to_string(std::chrono::seconds(limits::kUpstreamConnect).count());
  const std::string silence = std::to_string(std::chrono::milliseconds(limits::kUpstreamConnect).count());
  const std::string port = std::to_string(target.port);
  const std::string password(credentials.password.text());
  const char* keywords[] = {"host",
                            "port",
                            "dbname",
                            "user",
                            "password",
                            "sslmode",
                            "sslrootcert",
                            "connect_timeout",
                            "tcp_user_timeout",
                            "application_name",
                            "client_encoding",
                            "gssencmode",
                            nullptr};
  const char* values[] = {target.host.c_str(),
                          port.c_str(),
                          target.name.c_str(),
                          credentials.login.c_str(),
                          password.c_str(),
                          TlsMode(target.tls),
                          target.ca.c_str(),
                          seconds.c_str(),
                          silence.c_str(),
                          "ecluse",
                          "UTF8",
                          "disable",
                          nullptr};
  Database database(PQconnectdbParams(keywords, values, /*expand_dbname=*/0));
  if (PQstatus(database.connection_.get()) != CONNECTION_OK) {
    const bool refused = PQconnectionUsedPassword(database.connection_.get()) != 0;
    if (wrong_password != nullptr) *wrong_password = refused;
    std::string text = Trimmed(PQerrorMessage(database.connection_.get()));
    return Fail("08001", "the database cannot be reached as " + credentials.login + ": " + text,
                refused ? "run `ecluse apply`, which gives the login a new password"
                        : "check gate.database in the policy, and pg_hba.conf and the network there");
  }
  ECLUSE_OK(database.Run("SET search_path TO pg_catalog; SET standard_conforming_strings TO on"));
  return database;
}

Result<Rows> Database::Query(const std::string& sql, const std::vector<std::optional<std::string>>& parameters) {
  Refused unwanted;
  return Query(sql, parameters, &unwanted);
}

Result<Rows> Database::Query(const std::string& sql, const std::vector<std::optional<std::string>>& parameters,
                             Refused* refused) {
  std::vector<const char*> values;
  for (const auto& parameter : parameters) values.push_back(parameter ? parameter->c_str() : nullptr);
  pg_result* result = PQexecParams(connection_.get(), sql.c_str(), static_cast<int>(values.size()), nullptr,
                                   values.data(), nullptr, nullptr, 0);
  Rows rows(result);
  const ExecStatusType status = PQresultStatus(result);
  if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK) return rows;
  const char* constraint = PQresultErrorField(result, PG_DIAG_CONSTRAINT_NAME);
  const char* column = PQresultErrorField(result, PG_DIAG_COLUMN_NAME);
  *refused = {column == nullptr ? "" : column, constraint == nullptr ? "" : constraint};
  return std::unexpected(LastError(result, sql));
}

Result<Rows> Database::Query(const std::string& sql, const std::vector<std::optional<std::string>>& parameters,
                             std::chrono::milliseconds within) {
  const auto deadline = std::chrono::steady_clock::now() + within;
  pg_conn* connection = connection_.get();
  std::vector<const char*> values;
  for (const auto& parameter : parameters) values.push_back(parameter ? parameter->c_str() : nullptr);
  if (PQsendQueryParams(connection, sql.c_str(), static_cast<int>(values.size()), nullptr, values.data(), nullptr,
                        nullptr, 0) == 0)
    return std::unexpected(LastError(nullptr, sql));
  while (PQisBusy(connection) != 0) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    pollfd socket{PQsocket(connection), POLLIN, 0};
    if (left.count() <= 0 || poll(&socket, 1, static_cast<int>(left.count())) == 0)
      return Fail("08006", "the database does not answer", "see whether it is overloaded or gone", "", sql);
    if (PQconsumeInput(connection) == 0) return std::unexpected(LastError(nullptr, sql));
  }
  Rows rows(PQgetResult(connection));
  // What comes behind the answer is the end, or that it could not be committed.
  Rows end(PQgetResult(connection));
  if (end.result_ != nullptr) return std::unexpected(LastError(end.result_, sql));
  const ExecStatusType status = PQresultStatus(rows.result_);
  if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) return std::unexpected(LastError(rows.result_, sql));
  return rows;
}

Status Database::Run(const std::string& sql) {
  pg_result* result = PQexec(connection_.get(), sql.c_str());
  Rows rows(result);
  const ExecStatusType status = PQresultStatus(result);
  if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK && status != PGRES_EMPTY_QUERY) {
    return std::unexpected(LastError(result, sql));
  }
  return {};
}

Result<uint64_t> Database::CopyIn(const TableName& table, const std::vector<std::string>& columns,
                                  std::string_view rows, Refused* refused) {
  std::string sql = "COPY " + QuoteTable(table) + " (";
  for (const std::string& column : columns) sql += (&column == columns.data() ? "" : ", ") + QuoteName(column);
  sql += ") FROM STDIN";
  pg_conn* connection = connection_.get();
  {
    Rows begun(PQexec(connection, sql.c_str()));
    if (PQresultStatus(begun.result_) != PGRES_COPY_IN) return std::unexpected(LastError(begun.result_, sql));
  }
  constexpr size_t kPiece = 64 * 1024;
  for (size_t at = 0; at < rows.size(); at += kPiece) {
    const std::string_view piece = rows.substr(at, kPiece);
    // PostgreSQL's answer, or that the connection is gone, is read below.
    if (PQputCopyData(connection, piece.data(), static_cast<int>(piece.size())) != 1) break;
  }
  if (PQputCopyEnd(connection, nullptr) != 1) return std::unexpected(LastError(nullptr, sql));
  const Rows done(PQgetResult(connection));
  while (PGresult* more = PQgetResult(connection)) PQclear(more);
  const auto field = [&](int code) {
    const char* text = done.result_ == nullptr ? nullptr : PQresultErrorField(done.result_, code);
    return std::string(text == nullptr ? "" : text);
  };
  if (PQresultStatus(done.result_) == PGRES_COMMAND_OK) {
    uint64_t count = 0;
    const std::string_view text = PQcmdTuples(done.result_);
    std::from_chars(text.data(), text.data() + text.size(), count);
    return count;
  }
  const std::string state = field(PG_DIAG_SQLSTATE);
  if (state.empty()) return std::unexpected(LastError(nullptr, sql));
  refused->constraint = field(PG_DIAG_CONSTRAINT_NAME);
  refused->column = field(PG_DIAG_COLUMN_NAME);
  if (refused->column.empty()) refused->column = ColumnOf(field(PG_DIAG_CONTEXT), columns);
  const bool quotes = state.starts_with("22") || state.starts_with("23") || state.starts_with("P0");
  return Fail(state, quotes ? "PostgreSQL does not take the rows" : field(PG_DIAG_MESSAGE_PRIMARY), "", "",
              "SQLSTATE " + state);
}

Result<std::string> Database::Verifier(std::string_view login, std::string_view password) {
  char* verifier = PQencryptPasswordConn(connection_.get(), std::string(password).c_str(), std::string(login).c_str(),
                                         "scram-sha-256");
  if (verifier == nullptr) {
    return Fail("XX000", "the password verifier could not be made", "", "", Trimmed(PQerrorMessage(connection_.get())));
  }
  std::string text = verifier;
  PQfreemem(verifier);
  return text;
}

int Database::server_version() const { return PQserverVersion(connection_.get()); }

std::string QuoteName(std::string_view name) {
  std::string out = "\"";
  for (char c : name) {
    if (c == '"') out += '"';
    out += c;
  }
  return out + "\"";
}

std::string QuoteText(std::string_view text) {
  const bool escape = text.find('\\') != std::string_view::npos;
  std::string out = escape ? "E'" : "'";
  for (char c : text) {
    if (c == '\'' || c == '\\') out += c;
    out += c;
  }
  return out + "'";
}

std::string QuoteTable(const TableName& table) { return QuoteName(table.schema) + "." + QuoteName(table.name); }

std::string FittingName(const std::string& name, const std::string& apart) {
  if (apart.empty() && name.size() <= limits::kIdentifier) return name;
  uint8_t hash[SHA256_DIGEST_LENGTH];
  const std::string whole = name + apart;
  SHA256(reinterpret_cast<const unsigned char*>(whole.data()), whole.size(), hash);
  constexpr size_t kHashDigits = 8;
  size_t keep = std::min(name.size(), limits::kIdentifier - kHashDigits - 1);
  while (keep < name.size() && keep > 0 && (static_cast<unsigned char>(name[keep]) & 0xC0) == 0x80) --keep;
  return name.substr(0, keep) + "_" + HexEncode(hash).substr(0, kHashDigits);
}

std::string TextArray(const std::vector<std::string>& items) {
  std::string out = "{";
  for (const std::string& item : items) {
    if (out.size() > 1) out += ',';
    out += '"';
    for (char c : item) {
      if (c == '"' || c == '\\') out += '\\';
      out += c;
    }
    out += '"';
  }
  return out + "}";
}

}  // namespace ecluse
