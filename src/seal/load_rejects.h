// The side file of `ecluse load`: the rows of a file that are not in the table, with their lines and why.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/file.h"
#include "base/result.h"

namespace ecluse {

// Why PostgreSQL, or the gate in its place, does not take a row: by its SQLSTATE, and the column or constraint where
// one is known. Holds nothing of the row's values, which PostgreSQL's own messages quote.
std::string RejectReason(std::string_view sqlstate, std::string_view column, std::string_view constraint);

// Whether an SQLSTATE speaks of the row that was written (data, constraints, a trigger's refusal) and of nothing else.
bool SpeaksOfTheRow(std::string_view sqlstate);

// One JSON object a line: {"line":7,"reason":"…"}. Mode 0600. Not thread-safe.
class RejectFile {
 public:
  // Goes on behind the first `size` bytes, and cuts off what stands behind them; refuses a file that has fewer. Where
  // it has none it is made with the first reject. Refuses a file that is there and not `ours`.
  static Result<RejectFile> Open(FileSystem& files, const std::string& path, uint64_t size, bool ours);

  void Add(uint64_t line, std::string_view reason);
  // Returns when all that was added is durable.
  Status Sync();
  uint64_t size() const { return size_ + pending_.size(); }

 private:
  RejectFile(FileSystem& files, std::string path, uint64_t size)
      : files_(&files), path_(std::move(path)), size_(size) {}

  FileSystem* files_;
  std::string path_;
  uint64_t size_ = 0;
  std::unique_ptr<File> file_;
  std::string pending_;
};

}  // namespace ecluse
