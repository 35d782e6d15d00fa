// PostgreSQL's log, any bytes: read the same however they come in pieces, and into nothing that was not there.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "ledger/postgres_log.h"
#include "ledger/retention.h"

namespace {

using namespace ecluse;

void Require(bool holds) {
  if (!holds) abort();
}

std::string Read(std::string_view text, size_t piece) {
  std::string all;
  PostgresLog log([&](const PostgresRecord& record) {
    for (const std::string* part :
         {&record.user, &record.database, &record.host, &record.session, &record.application, &record.message})
      all += *part + '\x1f';
    all += std::to_string(record.time) + '\n';
  });
  for (size_t at = 0; at < text.size(); at += piece) {
    if (!log.Take(text.substr(at, piece))) return all + "refused";
  }
  return log.End() ? all : all + "refused";
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::string whole = Read(text, size + 1);
  Require(Read(text, 1) == whole && Read(text, 7) == whole);
  if (const auto time = ParsePostgresTime(text)) Require(*time >= 0);
  if (const auto statement = ParseRetention(text)) Require(ParseRetention(statement->Text()).has_value());
  return 0;
}
