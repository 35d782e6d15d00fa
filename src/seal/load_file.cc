#include "seal/load_file.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>

#include "base/bytes.h"
#include "base/check.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/utf8.h"
#include "seal/load_json.h"

namespace ecluse {
namespace {

constexpr std::string_view kMark = "\xEF\xBB\xBF";  // what some programs begin UTF-8 with

std::unexpected<Error> BadRow(std::string what) { return Fail("22P04", std::move(what)); }

std::unexpected<Error> BadHeader(std::string what) {
  return Fail(sqlstate::kInvalidParameter, std::move(what),
              "the first line of a CSV file names columns of the table, each once, separated by commas", "load.header");
}

// How many line ends there are, whichever of the three ways they are written.
uint64_t LineEnds(std::string_view text) {
  uint64_t count = 0;
  for (size_t i = 0; i < text.size(); ++i)
    if (text[i] == '\n' || (text[i] == '\r' && (i + 1 == text.size() || text[i + 1] != '\n'))) ++count;
  return count;
}

std::array<uint8_t, 32> Sha256(std::string_view bytes) {
  std::array<uint8_t, 32> hash;
  CHECK(EVP_Digest(bytes.data(), bytes.size(), hash.data(), nullptr, EVP_sha256(), nullptr) == 1);
  return hash;
}

}  // namespace

RowCutter::RowCutter(LoadFormat format, FilePlace at) : format_(format), row_end_(CopyFormat::Csv()), place_(at) {}

void RowCutter::Add(std::string_view piece) {
  bytes_.erase(0, begin_);
  begin_ = 0;
  bytes_ += piece;
}

size_t RowCutter::Find(std::string_view bytes, size_t* next, bool end) {
  if (format_ == LoadFormat::csv) return row_end_.Find(bytes, next, end);
  size_t size = bytes.find('\n');
  if (size == std::string_view::npos) return size;
  *next = size + 1;
  if (size > 0 && bytes[size - 1] == '\r') --size;
  return size;
}

Result<std::optional<FileRow>> RowCutter::Next(bool end) {
  const std::string_view bytes = std::string_view(bytes_).substr(begin_);
  size_t next = 0;
  size_t size = Find(bytes, &next, end);
  const bool whole = size != std::string::npos;
  if (!whole) size = next = bytes.size();
  if (size > limits::kLoadRow)
    return Fail("54000",
                fmt::format("the row that begins at line {} is longer than {} MiB", place_.line,
                            limits::kLoadRow / 1024 / 1024),
                "see whether a quote is open there; larger values are written through the gate", "load.row");
  if (!whole && !end) return std::nullopt;
  if (!whole && row_end_.quoted())
    return Fail("22P04", fmt::format("the quote of a value in the row that begins at line {} has no end", place_.line),
                "close it, and double the quotes that stand inside of values", "load.row");
  if (!whole && bytes.empty()) return std::nullopt;
  const FileRow row{place_, bytes.substr(0, size)};
  place_.line += LineEnds(row.text) + 1;
  place_.byte += next;
  begin_ += next;
  return row;
}

RowReader::RowReader(const std::vector<FileColumn>& columns) : columns_(columns) {
  for (size_t i = 0; i < columns.size(); ++i) by_name_[columns[i].name] = static_cast<int>(i);
}

Result<RowReader> RowReader::Csv(std::string_view header, const std::vector<FileColumn>& columns) {
  RowReader reader(columns);
  reader.format_ = LoadFormat::csv;
  CopyValues names;
  if (!IsUtf8(header)) return BadHeader("the first line of the file is not UTF-8");
  if (!ReadCsvRow(header, CopyFormat::Csv(), &names)) return BadHeader("the first line of the file has an open quote");
  for (const auto& name : names) {
    const auto at = reader.by_name_.find(name.value_or(""));
    if (at == reader.by_name_.end())
      return BadHeader(fmt::format("the first line of the file names \"{}\", which is no column that can be loaded",
                                   Printable(std::string_view(name.value_or("")).substr(0, limits::kIdentifier))));
    if (std::ranges::find(reader.header_, at->second) != reader.header_.end())
      return BadHeader("the first line of the file names the column " + at->first + " twice");
    reader.header_.push_back(at->second);
  }
  return reader;
}

RowReader RowReader::Jsonl(const std::vector<FileColumn>& columns) { return RowReader(columns); }

Result<RowValues> RowReader::Read(std::string_view row) const {
  if (!IsUtf8(row)) return BadRow("the row is not UTF-8");
  RowValues out;
  if (format_ == LoadFormat::csv) {
    out.columns = header_;
    if (!ReadCsvRow(row, CopyFormat::Csv(), &out.values)) return BadRow("a quoted value has no end");
    if (out.values.size() != header_.size())
      return BadRow(fmt::format("{} values for {} columns", out.values.size(), header_.size()));
  } else {
    const auto find = [this](std::string_view name) {
      const auto at = by_name_.find(name);
      return at == by_name_.end() ? -1 : at->second;
    };
    ECLUSE_TRY(out, ReadJsonRow(row, columns_, find));
  }
  for (const auto& value : out.values)
    if (value && value->contains('\0')) return BadRow("a value holds a zero byte");
  return out;
}

Result<LoadFile> LoadFile::Open(FileSystem& files, const std::string& path,
                                const std::function<void(uint64_t rows)>& progress) {
  const bool csv = path.ends_with(".csv");
  if (!csv && !path.ends_with(".jsonl"))
    return Fail(sqlstate::kInvalidParameter, path + " ends neither in .csv nor in .jsonl", "name it by what it holds",
                "load.file");
  LoadFile file(csv ? LoadFormat::csv : LoadFormat::jsonl);
  auto opened = files.Open(path, OpenMode::read);
  if (!opened)
    return Fail(sqlstate::kInvalidParameter, path + " cannot be read", "see that it is there, and that this user may",
                "load.file", opened.error().operator_detail);
  file.file_ = std::move(*opened);
  ECLUSE_TRY(const FileInfo info, file.file_->Info());
  if (!info.regular)
    return Fail(sqlstate::kInvalidParameter, path + " is no regular file", "write what is to be loaded into a file",
                "load.file");
  file.size_ = info.size;
  if (file.size_ == 0) return Fail(sqlstate::kInvalidParameter, path + " is empty", "name another", "load.file");
  ECLUSE_OK(file.Scan(progress));
  return file;
}

// As many bytes as there should be.
Result<std::string> LoadFile::Block(uint64_t number) {
  const uint64_t offset = number * limits::kLoadBlock;
  std::string block(std::min<uint64_t>(limits::kLoadBlock, size_ - offset), '\0');
  for (size_t have = 0; have < block.size();) {
    ECLUSE_TRY(const size_t got,
               file_->ReadAt(offset + have, {reinterpret_cast<uint8_t*>(block.data()) + have, block.size() - have}));
    if (got == 0) break;
    have += got;
  }
  return block;
}

Status LoadFile::Scan(const std::function<void(uint64_t rows)>& progress) {
  const std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> whole(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  CHECK(whole && EVP_DigestInit_ex(whole.get(), EVP_sha256(), nullptr) == 1);
  RowCutter cutter(format_);
  bool headed = format_ == LoadFormat::jsonl;
  const uint64_t count = (size_ + limits::kLoadBlock - 1) / limits::kLoadBlock;
  for (uint64_t number = 0; number < count; ++number) {
    ECLUSE_TRY(const std::string block, Block(number));
    CHECK(EVP_DigestUpdate(whole.get(), block.data(), block.size()) == 1);
    blocks_.push_back(Sha256(block));
    std::string_view bytes = block;
    if (number == 0 && bytes.starts_with(kMark)) {
      bytes.remove_prefix(kMark.size());
      first_.byte = kMark.size();
      cutter = RowCutter(format_, first_);
    }
    cutter.Add(bytes);
    while (true) {
      ECLUSE_TRY(const auto row, cutter.Next(number + 1 == count));
      if (!row) break;
      if (!headed) {
        header_ = row->text;
        first_ = cutter.place();
        headed = true;
        continue;
      }
      ++rows_;
    }
    if (progress) progress(rows_);
  }
  Hash hash;
  CHECK(EVP_DigestFinal_ex(whole.get(), hash.data(), nullptr) == 1);
  sha256_ = HexEncode(hash);
  return {};
}

void LoadFile::Seek(const FilePlace& place) {
  cutter_ = RowCutter(format_, place);
  read_ = place.byte;
}

Result<std::optional<FileRow>> LoadFile::Next() {
  while (true) {
    ECLUSE_TRY(auto row, cutter_.Next(read_ == size_));
    if (row || read_ == size_) return row;
    const uint64_t number = read_ / limits::kLoadBlock;
    ECLUSE_TRY(const std::string block, Block(number));
    if (Sha256(block) != blocks_[number])
      return Fail(sqlstate::kIo, "the file was changed while it was being loaded",
                  "put it back as it was, and run this again: it goes on", "load.changed");
    const uint64_t inside = read_ % limits::kLoadBlock;
    cutter_.Add(std::string_view(block).substr(inside));
    read_ += block.size() - inside;
  }
}

}  // namespace ecluse
