#include "ledger/postgres_log.h"

#include <fmt/format.h>

#include <boost/json.hpp>
#include <vector>

#include "base/limits.h"
#include "base/log.h"
#include "base/time_text.h"
#include "ledger/json.h"

namespace ecluse {
namespace {

// Columns of a csvlog line that are read here.
enum Column : size_t { kTime = 0, kUser = 1, kDatabase = 2, kFrom = 4, kSession = 5, kMessage = 13, kApplication = 22 };

std::unexpected<Error> Unreadable(uint64_t record, std::string_view what) {
  return Fail(sqlstate::kInvalidParameter, fmt::format("record {} of the log {}", record, what),
              "give files that PostgreSQL wrote with log_destination = 'csvlog' or 'jsonlog'", "reconcile.log");
}

// Without the port behind it.
std::string HostOf(std::string_view from) {
  const size_t colon = from.rfind(':');
  if (from.starts_with("[local]") || colon == std::string_view::npos) return std::string(from);
  return std::string(from.substr(0, colon));
}

}  // namespace

std::optional<int64_t> ParsePostgresTime(std::string_view text) {
  constexpr std::string_view kForm = "0000-00-00 00:00:00.000 ";
  if (text.size() != kForm.size() + 3 || (!text.ends_with("UTC") && !text.ends_with("GMT"))) return std::nullopt;
  for (size_t i = 0; i < kForm.size(); ++i) {
    const bool digit = text[i] >= '0' && text[i] <= '9';
    if (kForm[i] == '0' ? !digit : text[i] != kForm[i]) return std::nullopt;
  }
  const auto time = ParseTime(fmt::format("{}T{}Z", text.substr(0, 10), text.substr(11, 12)), 0);
  return time && *time >= 0 ? time : std::nullopt;
}

Status PostgresLog::Take(std::string_view bytes) {
  rest_ += bytes;
  size_t begin = 0;
  for (; looked_ < rest_.size(); ++looked_) {
    const char c = rest_[looked_];
    if (looked_ == begin) json_ = c == '{';
    if (c == '"' && !json_) quoted_ = !quoted_;  // a doubled quote closes and opens again
    if (c != '\n' || quoted_) continue;
    ECLUSE_OK(TakeOne(std::string_view(rest_).substr(begin, looked_ - begin)));
    begin = looked_ + 1;
  }
  rest_.erase(0, begin);
  looked_ = rest_.size();
  if (rest_.size() > limits::kPostgresRecord) return Unreadable(records_ + 1, "is too long");
  return {};
}

Status PostgresLog::End() {
  if (quoted_) return Unreadable(records_ + 1, "is cut short");
  return rest_.empty() ? Status() : TakeOne(rest_);
}

Status PostgresLog::TakeOne(std::string_view record) {
  if (record.ends_with('\r')) record.remove_suffix(1);
  if (record.empty()) return {};
  ++records_;
  return record.starts_with('{') ? TakeJson(record) : TakeCsv(record);
}

Status PostgresLog::TakeCsv(std::string_view record) {
  std::vector<std::string> columns(1);
  bool quoted = false;
  for (size_t i = 0; i < record.size(); ++i) {
    const char c = record[i];
    if (quoted && c == '"' && i + 1 < record.size() && record[i + 1] == '"') {
      columns.back() += record[++i];
    } else if (c == '"') {
      quoted = !quoted;
    } else if (c == ',' && !quoted) {
      columns.emplace_back();
    } else {
      columns.back() += c;
    }
  }
  // Of PostgreSQL 10 to 12, 13, and since 14: a line that was cut runs into the next.
  if (columns.size() != 23 && columns.size() != 24 && columns.size() != 26)
    return Unreadable(records_, "is no line of csvlog");
  PostgresRecord out;
  out.user = std::move(columns[kUser]);
  out.database = std::move(columns[kDatabase]);
  out.host = HostOf(columns[kFrom]);
  out.session = std::move(columns[kSession]);
  out.application = std::move(columns[kApplication]);
  out.message = std::move(columns[kMessage]);
  return Give(std::move(out), columns[kTime]);
}

Status PostgresLog::TakeJson(std::string_view record) {
  boost::system::error_code failed;
  const boost::json::value parsed = boost::json::parse({record.data(), record.size()}, failed);
  if (failed || !parsed.is_object()) return Unreadable(records_, "is no line of jsonlog");
  const auto text = [&](std::string_view name) { return std::string(TextOf(parsed.get_object(), name)); };
  PostgresRecord out;
  out.user = text("user");
  out.database = text("dbname");
  out.host = text("remote_host");
  out.session = text("session_id");
  out.application = text("application_name");
  out.message = text("message");
  return Give(std::move(out), text("timestamp"));
}

Status PostgresLog::Give(PostgresRecord record, std::string_view time) {
  const auto micros = ParsePostgresTime(time);
  if (!micros) {
    return Fail(sqlstate::kInvalidParameter,
                fmt::format("record {} of the log has the time `{}`", records_, Printable(time.substr(0, 64))),
                "it is compared with the ledger's times: set log_timezone = 'UTC' in postgresql.conf", "reconcile.log");
  }
  record.time = *micros;
  visit_(record);
  return {};
}

}  // namespace ecluse
