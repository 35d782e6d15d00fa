#include "seal/load_rejects.h"

#include <fmt/format.h>

#include <filesystem>
#include <utility>

#include "base/bytes.h"
#include "ledger/json.h"

namespace ecluse {
namespace {

constexpr std::pair<std::string_view, std::string_view> kReasons[] = {
    {"22001", "a value is longer than its column holds"},
    {"22003", "a number is larger than its column holds"},
    {"22007", "a value is no date or time as in ISO 8601"},
    {"22008", "a date, time or number is outside of what its column holds"},
    {"22023", "a value can be nobody's id"},
    {"22021", "a value is not UTF-8, or holds a zero byte"},
    {"23502", "a value is missing where there has to be one"},
    {"23503", "it refers to a row that is not there"},
    {"23505", "another row has the same key"},
    {"23514", "a check of the table refuses it"},
    {"23P01", "an exclusion constraint of the table refuses it"},
    {"P0001", "a trigger of the table refuses it"},
};

std::unexpected<Error> NotOurs(const std::string& path, const std::string& what) {
  return Fail(sqlstate::kInvalidParameter, path + " " + what,
              "put back the file that this load has written; or, where that is lost, move what is there away, and see "
              "docs/operations.md, \"Load in bulk\"",
              "load.rejects");
}

}  // namespace

std::string RejectReason(std::string_view sqlstate, std::string_view column, std::string_view constraint) {
  std::string_view words =
      sqlstate.starts_with("23") ? "a constraint of the table refuses it" : "a value is none of its column's type";
  for (const auto& [state, reason] : kReasons)
    if (state == sqlstate) words = reason;
  std::string where;
  if (!constraint.empty())
    where = fmt::format(": constraint {}", constraint);
  else if (!column.empty())
    where = fmt::format(": column {}", column);
  return fmt::format("{}{} ({})", words, where, sqlstate);
}

bool SpeaksOfTheRow(std::string_view sqlstate) {
  return sqlstate.starts_with("22") || sqlstate.starts_with("23") || sqlstate == "P0001";
}

Result<RejectFile> RejectFile::Open(FileSystem& files, const std::string& path, uint64_t size, bool ours) {
  RejectFile out(files, path, size);
  ECLUSE_TRY(const auto there, files.Find(path));
  if (!there && size == 0) return out;
  if (!there) return NotOurs(path, "is missing");
  if (!ours)
    return Fail(sqlstate::kInvalidParameter, path + " is there already", "move it away: rejects of this load go there",
                "load.rejects");
  if (!there->regular || there->size < size) return NotOurs(path, "is not the file that rejects were written to");
  ECLUSE_TRY(out.file_, files.Open(path, OpenMode::write));
  ECLUSE_OK(out.file_->Resize(size));
  return out;
}

void RejectFile::Add(uint64_t line, std::string_view reason) {
  pending_ += fmt::format("{{\"line\":{},\"reason\":", line);
  AppendJsonString(pending_, reason);
  pending_ += "}\n";
}

Status RejectFile::Sync() {
  if (pending_.empty()) return {};
  if (!file_) {
    ECLUSE_TRY(file_, files_->Open(path_, OpenMode::create));
    ECLUSE_OK(files_->SyncDirectory(std::filesystem::path(path_).parent_path().string()));
  }
  while (!pending_.empty()) {
    ECLUSE_TRY(const size_t written, file_->WriteAt(size_, AsBytes(pending_)));
    size_ += written;
    pending_.erase(0, written);
  }
  return file_->SyncAll();
}

}  // namespace ecluse
