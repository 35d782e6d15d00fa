// A file that is loaded, any bytes: cut the same however they come in pieces, no byte lost between rows, and rows read
// into as many values as columns. The first byte chooses the format.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "seal/load_file.h"

namespace {

using namespace ecluse;

void Require(bool held) {
  if (!held) std::abort();
}

using Rows = std::vector<std::pair<FilePlace, std::string>>;

Rows Cut(LoadFormat format, std::string_view bytes, size_t piece) {
  Rows rows;
  RowCutter cutter(format);
  for (size_t at = 0;; at += piece) {
    const bool end = at + piece >= bytes.size();
    if (at < bytes.size()) cutter.Add(bytes.substr(at, piece));
    while (true) {
      const auto row = cutter.Next(end);
      if (!row) {
        rows.emplace_back(FilePlace{}, row.error().message);
        return rows;
      }
      if (!*row) break;
      rows.emplace_back((*row)->at, (*row)->text);
    }
    if (end) break;
  }
  Require(cutter.place().byte == bytes.size());
  return rows;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const LoadFormat format = (data[0] & 1) != 0 ? LoadFormat::csv : LoadFormat::jsonl;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const Rows rows = Cut(format, bytes, size);
  Require(Cut(format, bytes, 1) == rows && Cut(format, bytes, 7) == rows);
  uint64_t end = 0;
  for (const auto& [place, text] : rows) {
    if (place == FilePlace{} && &text != &rows[0].second) break;  // the error behind the last row
    Require(place.byte >= end && place.byte <= end + 2);
    end = place.byte + text.size();
  }
  const std::vector<FileColumn> columns = {{"id", false}, {"name", false}, {"about", true}};
  auto reader = Result<RowReader>(RowReader::Jsonl(columns));
  if (format == LoadFormat::csv && !rows.empty()) reader = RowReader::Csv(rows[0].second, columns);
  if (!reader) return 0;
  for (const auto& [place, text] : rows) {
    const auto values = reader->Read(text);
    Require(!values || values->values.size() == values->columns.size());
  }
  return 0;
}
