#include "policy/retained.h"

#include <fmt/format.h>

#include <boost/json.hpp>

#include "base/limits.h"
#include "base/time_text.h"
#include "policy/policy_reader.h"

namespace ecluse {
namespace {

namespace json = boost::json;

constexpr std::string_view kHead = "ecluse retained v1\n";

std::string PathOf(const std::string& data_dir) { return data_dir + "/retained"; }

std::unexpected<Error> Damaged(const std::string& data_dir) {
  return Fail(sqlstate::kIo, PathOf(data_dir) + " is no note of ecluse retain",
              "remove it, and run `ecluse retain`: it is made again", "policy.retained");
}

}  // namespace

Result<RetainedTables> ReadRetained(FileSystem& files, const std::string& data_dir) {
  ECLUSE_TRY(const auto there, files.Find(PathOf(data_dir)));
  if (!there) return RetainedTables();
  ECLUSE_TRY(const std::string text, ReadWholeFile(files, PathOf(data_dir), limits::kRetainedBytes));
  boost::system::error_code failed;
  const json::value value = text.starts_with(kHead) ? json::parse(text.substr(kHead.size()), failed) : json::value();
  if (failed || !value.is_array()) return Damaged(data_dir);
  RetainedTables tables;
  for (const json::value& item : value.get_array()) {
    const auto text_of = [&](const char* name) {
      const json::value* member = item.is_object() ? item.get_object().if_contains(name) : nullptr;
      return member != nullptr && member->is_string() ? std::string(member->get_string()) : std::string();
    };
    const auto number_of = [&](const char* name) {
      const json::value* member = item.is_object() ? item.get_object().if_contains(name) : nullptr;
      return member != nullptr && member->is_int64() ? member->get_int64() : -1;
    };
    const TableName table{text_of("schema"), text_of("table")};
    const Retained one{number_of("time"), number_of("left"), text_of("column"),
                       std::chrono::seconds(number_of("keep"))};
    if (table.schema.empty() || table.name.empty() || one.time < 0 || one.left < 0) return Damaged(data_dir);
    tables[table] = one;
  }
  return tables;
}

Status WriteRetained(FileSystem& files, const std::string& data_dir, const RetainedTables& tables) {
  json::array all;
  for (const auto& [name, one] : tables) {
    all.push_back(json::object{{"schema", name.schema},
                               {"table", name.name},
                               {"time", one.time},
                               {"left", one.left},
                               {"column", one.column},
                               {"keep", static_cast<int64_t>(one.keep.count())}});
  }
  return ReplaceFile(files, PathOf(data_dir), std::string(kHead) + json::serialize(all) + "\n");
}

std::vector<std::string> RetentionWarnings(const Policy& policy, const RetainedTables& tables, int64_t now) {
  std::vector<std::string> warnings;
  for (const auto& [name, table] : policy.tables) {
    if (!table.retention) continue;
    const auto& [column, keep] = *table.retention;
    const std::string rule = fmt::format("{} keeps rows for {} by {}", name.Text(), DurationText(keep), column);
    const auto found = tables.find(name);
    if (found == tables.end() || found->second.column != column || found->second.keep != keep) {
      warnings.push_back(rule + ", and older ones were never looked for by that rule: run `ecluse retain`");
      continue;
    }
    const Retained& last = found->second;
    if (last.time < now - std::chrono::microseconds(limits::kRetainDue).count()) {
      warnings.push_back(fmt::format("{}, and older ones were looked for at {} last: run `ecluse retain`, once a day",
                                     rule, TimeText(last.time)));
    } else if (last.left > 0) {
      warnings.push_back(fmt::format("{}, and {} older ones were left at {}: `ecluse retain` says why", rule, last.left,
                                     TimeText(last.time)));
    }
  }
  return warnings;
}

}  // namespace ecluse
