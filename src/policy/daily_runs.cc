#include "policy/daily_runs.h"

#include <fmt/format.h>

#include <boost/json.hpp>

#include "base/limits.h"
#include "base/time_text.h"
#include "policy/policy_reader.h"

namespace ecluse {
namespace {

namespace json = boost::json;

struct NoteFile {
  explicit NoteFile(DailyRun run)
      : name(run == DailyRun::retain ? "retained" : "shuffled"),
        command(run == DailyRun::retain ? "retain" : "shuffle") {}
  std::string Path(const std::string& data_dir) const { return data_dir + "/" + name; }
  std::string Head() const { return "ecluse " + name + " v1\n"; }
  std::unexpected<Error> Damaged(const std::string& data_dir) const {
    return Fail(sqlstate::kIo, Path(data_dir) + " is no note of ecluse " + command,
                "remove it, and run `ecluse " + command + "`: it is made again", "policy.daily");
  }
  std::string name, command;
};

}  // namespace

Result<GoneThroughTables> ReadGoneThrough(FileSystem& files, const std::string& data_dir, DailyRun run) {
  const NoteFile note(run);
  ECLUSE_TRY(const auto there, files.Find(note.Path(data_dir)));
  if (!there) return GoneThroughTables();
  ECLUSE_TRY(const std::string text, ReadWholeFile(files, note.Path(data_dir), limits::kDailyNoteBytes));
  boost::system::error_code failed;
  const json::value value =
      text.starts_with(note.Head()) ? json::parse(text.substr(note.Head().size()), failed) : json::value();
  if (failed || !value.is_array()) return note.Damaged(data_dir);
  GoneThroughTables tables;
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
    const GoneThrough one{number_of("time"), number_of("left"), text_of("column"),
                          std::chrono::seconds(number_of("keep"))};
    if (table.schema.empty() || table.name.empty() || one.time < 0 || one.left < 0) return note.Damaged(data_dir);
    tables[table] = one;
  }
  return tables;
}

Status WriteGoneThrough(FileSystem& files, const std::string& data_dir, DailyRun run, const GoneThroughTables& tables) {
  const NoteFile note(run);
  json::array all;
  for (const auto& [name, one] : tables) {
    all.push_back(json::object{{"schema", name.schema},
                               {"table", name.name},
                               {"time", one.time},
                               {"left", one.left},
                               {"column", one.column},
                               {"keep", static_cast<int64_t>(one.keep.count())}});
  }
  return ReplaceFile(files, note.Path(data_dir), note.Head() + json::serialize(all) + "\n");
}

Status NoteShuffled(FileSystem& files, const Policy& policy, const std::vector<TableName>& tables, int64_t now) {
  auto noted = ReadGoneThrough(files, policy.data_dir, DailyRun::shuffle).value_or(GoneThroughTables());
  for (const TableName& table : tables) noted[table] = {now, 0, {}, {}};
  std::erase_if(noted, [&](const auto& item) {
    const auto table = policy.tables.find(item.first);
    return table == policy.tables.end() || !table->second.linked();
  });
  return WriteGoneThrough(files, policy.data_dir, DailyRun::shuffle, noted);
}

std::vector<std::string> RetentionWarnings(const Policy& policy, const GoneThroughTables& tables, int64_t now) {
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
    const GoneThrough& last = found->second;
    if (last.time < now - std::chrono::microseconds(limits::kDailyDue).count()) {
      warnings.push_back(fmt::format("{}, and older ones were looked for at {} last: run `ecluse retain`, once a day",
                                     rule, TimeText(last.time)));
    } else if (last.left > 0) {
      warnings.push_back(fmt::format("{}, and {} older ones were left at {}: `ecluse retain` says why", rule, last.left,
                                     TimeText(last.time)));
    }
  }
  return warnings;
}

std::vector<std::string> ShuffleWarnings(const Policy& policy, const GoneThroughTables& tables, int64_t now) {
  std::vector<std::string> warnings;
  for (const auto& [name, table] : policy.tables) {
    const auto found = tables.find(name);
    if (!table.linked() ||
        (found != tables.end() && found->second.time >= now - std::chrono::microseconds(limits::kDailyDue).count()))
      continue;
    warnings.push_back(
        fmt::format("{} is in the compartment {}, and its rows were {}: run `ecluse shuffle`, once a day", name.Text(),
                    table.compartment,
                    found == tables.end() ? "never written in another order"
                                          : "written in another order at " + TimeText(found->second.time) + " last"));
  }
  return warnings;
}

}  // namespace ecluse
