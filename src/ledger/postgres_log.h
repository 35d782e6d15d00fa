// PostgreSQL's server log, as csvlog and jsonlog write it (PostgreSQL manual, 20.8 "Error Reporting and Logging").
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace ecluse {

// One record, as far as it is of use here.
struct PostgresRecord {
  int64_t time = 0;  // microseconds since 1970
  std::string user, database;
  std::string host;     // an address, or "[local]"; empty for what no client caused
  std::string session;  // its id, unique in one server's life
  std::string application;
  std::string message;
};

// Takes the bytes of one file piece by piece, any bytes, and gives its records in order. Which of the two formats a
// record has shows in its first byte. Fails where a record cannot be read, is longer than limits::kPostgresRecord, or
// has a time that is not in UTC.
class PostgresLog {
 public:
  using Visit = std::function<void(const PostgresRecord&)>;
  explicit PostgresLog(Visit visit) : visit_(std::move(visit)) {}
  Status Take(std::string_view bytes);
  // There are no more; what is left must be whole.
  Status End();

 private:
  Status TakeOne(std::string_view record);
  Status TakeCsv(std::string_view record);
  Status TakeJson(std::string_view record);
  Status Give(PostgresRecord record, std::string_view time);

  const Visit visit_;
  std::string rest_;     // of a record that has not ended yet
  size_t looked_ = 0;    // bytes of it
  bool json_ = false;    // which format it has
  bool quoted_ = false;  // whether they end inside quotes
  uint64_t records_ = 0;
};

// "2026-11-22 15:05:25.257 UTC", microseconds since 1970; nullopt for any other form and zone.
std::optional<int64_t> ParsePostgresTime(std::string_view text);

}  // namespace ecluse
