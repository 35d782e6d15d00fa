// What `ecluse load` reads: a file of rows, as CSV or JSON lines, as it was when it was opened.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "base/result.h"
#include "pgwire/copy_format.h"

namespace ecluse {

enum class LoadFormat { csv, jsonl };

// Where a row begins: its first byte, and its line as an editor counts them.
struct FilePlace {
  uint64_t byte = 0, line = 1;
  friend bool operator==(const FilePlace&, const FilePlace&) = default;
};

struct FileRow {
  FilePlace at;
  std::string_view text;  // without the newline; lives until the next call of the cutter
};

// Cuts bytes that come in pieces into rows. Pure; holds no more than a piece and limits::kLoadRow.
class RowCutter {
 public:
  // `at` is where the first row begins.
  explicit RowCutter(LoadFormat format, FilePlace at = {});
  // What comes behind the bytes added before. Only once Next() has given all rows of those.
  void Add(std::string_view piece);
  // The next row; nullopt where it is not complete. `end`: nothing comes behind, and what is there is a row without a
  // newline. 54000: a row is longer than limits::kLoadRow; 22P04: its quote has no end. They name the line.
  Result<std::optional<FileRow>> Next(bool end);
  // Where the row behind the one given last begins.
  const FilePlace& place() const { return place_; }

 private:
  size_t Find(std::string_view bytes, size_t* next, bool end);

  LoadFormat format_;
  CopyRowEnd row_end_;
  FilePlace place_;
  std::string bytes_;
  size_t begin_ = 0;  // in bytes_: where place_ is
};

// A column that rows may have values for.
struct FileColumn {
  std::string name;
  bool json = false;  // json or jsonb: takes any value of JSON as it is
};

// The values of a row: `columns` are indices into those that its reader was given, in their order for JSON lines and in
// the header's for CSV.
struct RowValues {
  std::vector<int> columns;
  CopyValues values;
};

// Reads the values of rows. Pure. Immutable, so safe for any number of threads.
class RowReader {
 public:
  // CSV rows, in the order that the header line names. Refuses a header that is not UTF-8, names a column twice, or one
  // that is not among `columns`.
  static Result<RowReader> Csv(std::string_view header, const std::vector<FileColumn>& columns);
  // One JSON object a row, whose members are columns: strings, numbers as they are spelled, true and false, null.
  static RowReader Jsonl(const std::vector<FileColumn>& columns);

  // Error: what is wrong with the row, in words that hold nothing of it.
  Result<RowValues> Read(std::string_view row) const;
  // Of CSV, the header's.
  const std::vector<int>& header() const { return header_; }

 private:
  explicit RowReader(const std::vector<FileColumn>& columns);

  LoadFormat format_ = LoadFormat::jsonl;
  std::vector<FileColumn> columns_;
  std::map<std::string, int, std::less<>> by_name_;
  std::vector<int> header_;
};

// A file that is read from any row on. Not thread-safe.
class LoadFile {
 public:
  // Reads all of it once. Refuses what is no regular file, is empty, does not end in .csv or .jsonl, and what
  // RowCutter refuses.
  static Result<LoadFile> Open(FileSystem& files, const std::string& path,
                               const std::function<void(uint64_t rows)>& progress);

  LoadFormat format() const { return format_; }
  const std::string& sha256() const { return sha256_; }  // of all of it, in hexadecimal
  uint64_t rows() const { return rows_; }                // without the header
  uint64_t size() const { return size_; }
  const std::string& header() const { return header_; }  // of CSV, its first line
  const FilePlace& first() const { return first_; }      // where the first row behind it begins

  // Goes on with the row that begins there.
  void Seek(const FilePlace& place);
  // The next row; nullopt at the end. 58030: the file is not what it was when it was opened.
  Result<std::optional<FileRow>> Next();
  const FilePlace& place() const { return cutter_.place(); }

 private:
  using Hash = std::array<uint8_t, 32>;
  explicit LoadFile(LoadFormat format) : format_(format), cutter_(format) {}
  Result<std::string> Block(uint64_t number);
  Status Scan(const std::function<void(uint64_t rows)>& progress);

  LoadFormat format_;
  std::unique_ptr<File> file_;
  std::vector<Hash> blocks_;  // of limits::kLoadBlock each, the last one shorter
  std::string sha256_, header_;
  uint64_t rows_ = 0, size_ = 0;
  FilePlace first_;
  RowCutter cutter_;
  uint64_t read_ = 0;  // bytes given to the cutter
};

}  // namespace ecluse
