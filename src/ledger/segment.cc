#include "ledger/segment.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <optional>
#include <utility>

#include "base/bytes.h"
#include "base/check.h"
#include "base/limits.h"
#include "ledger/recovery.h"

namespace ecluse {
namespace {

constexpr size_t kChunk = 1024 * 1024;
constexpr std::string_view kPrefix = "wal-";
constexpr std::string_view kFresh = ".new";

std::string HeaderText(const SegmentFolder& folder, uint64_t number, uint64_t size) {
  std::string text =
      fmt::format("ecluse ledger segment v1\nledger {}\nnumber {}\nsize {}\n", HexEncode(folder.ledger), number, size);
  text.resize(kSegmentHeader, '\0');
  return text;
}

Status WriteAll(File& file, const std::string& path, uint64_t offset, std::span<const uint8_t> bytes) {
  ECLUSE_TRY(size_t n, file.WriteAt(offset, bytes));
  if (n != bytes.size()) return std::unexpected(IoError("write the ledger", path, ENOSPC));
  return {};
}

Status Fill(File& file, const std::string& path, std::string_view head, std::string_view records, uint64_t size) {
  std::string chunk(head);
  chunk += records.substr(0, kChunk - chunk.size());
  records.remove_prefix(chunk.size() - head.size());
  for (uint64_t offset = 0; offset < size;) {
    chunk.resize(std::min<uint64_t>(kChunk, size - offset), '\0');
    ECLUSE_OK(WriteAll(file, path, offset, AsBytes(chunk)));
    offset += chunk.size();
    size_t take = std::min(records.size(), kChunk);
    chunk.assign(records.substr(0, take));
    records.remove_prefix(take);
  }
  return {};
}

// Reads a segment a chunk at a time; a record never spans more than what is held.
class Window {
 public:
  Window(File& file, uint64_t end) : file_(file), end_(end) {}

  // At least `want` bytes from `offset`, or up to the end of the segment.
  Result<std::span<const uint8_t>> At(uint64_t offset, size_t want) {
    want = std::min<uint64_t>(want, end_ - offset);
    if (offset < start_ || offset + want > start_ + held_.size()) {
      // Often only the first record is looked at.
      held_.resize(std::min<uint64_t>(held_.empty() ? want : std::max(kChunk, want), end_ - offset));
      start_ = offset;
      size_t have = 0;
      while (have < held_.size()) {
        ECLUSE_TRY(size_t n, file_.ReadAt(offset + have, std::span(held_).subspan(have)));
        if (n == 0) return LedgerDamaged("a segment ended early");
        have += n;
      }
    }
    return std::span<const uint8_t>(held_).subspan(offset - start_);
  }

 private:
  File& file_;
  uint64_t end_;
  uint64_t start_ = 0;
  std::vector<uint8_t> held_;
};

// The sequence of the first entry of `numbers[at]`; nullopt where it holds none yet or there is no such segment.
Result<std::optional<uint64_t>> FirstSeq(const SegmentFolder& folder, const std::vector<uint64_t>& numbers, size_t at) {
  if (at >= numbers.size()) return std::nullopt;
  ECLUSE_TRY(auto file, folder.files->Open(folder.PathOf(numbers[at]), OpenMode::read));
  std::vector<uint8_t> bytes(kRecordHeader);
  ECLUSE_TRY(size_t n, file->ReadAt(kSegmentHeader, bytes));
  auto header = ReadHeader(std::span(bytes).first(n));
  if (!header) return std::nullopt;
  if (header->ledger != folder.ledger || (numbers[at] == 1) != (header->seq == 0))
    return LedgerDamaged(folder.PathOf(numbers[at]) + " does not belong where it is");
  return header->seq;
}

// The last segment that begins at or before `seq`.
Result<size_t> FindSegment(const SegmentFolder& folder, const std::vector<uint64_t>& numbers, uint64_t seq) {
  size_t low = 0, high = numbers.size();
  while (high - low > 1) {
    size_t middle = low + (high - low) / 2;
    ECLUSE_TRY(auto start, FirstSeq(folder, numbers, middle));
    (start && *start <= seq ? low : high) = middle;
  }
  return low;
}

}  // namespace

std::unexpected<Error> LedgerDamaged(std::string detail) {
  return Fail(sqlstate::kIo, "the ledger on disk is damaged, so nothing is released",
              "keep <data_dir> as it is for examination, and restore it from a copy; see docs/ledger_format.md, "
              "\"Recovery\"",
              "ledger.damaged", std::move(detail));
}

std::string SegmentFolder::PathOf(uint64_t number) const { return fmt::format("{}/{}{:08}", path, kPrefix, number); }

Result<std::vector<uint64_t>> ListSegments(const SegmentFolder& folder, bool clean) {
  ECLUSE_TRY(auto names, folder.files->List(folder.path));
  std::vector<uint64_t> numbers;
  for (const std::string& name : names) {
    if (!name.starts_with(kPrefix)) continue;
    if (name.ends_with(kFresh)) {
      if (clean) ECLUSE_OK(folder.files->Remove(folder.path + "/" + name));
      continue;
    }
    uint64_t number = 0;
    const char* end = name.data() + name.size();
    auto [at, error] = std::from_chars(name.data() + kPrefix.size(), end, number);
    if (error != std::errc() || at != end) return LedgerDamaged(name + " is not a segment's name");
    numbers.push_back(number);
  }
  std::sort(numbers.begin(), numbers.end());
  for (size_t i = 1; i < numbers.size(); ++i)
    if (numbers[i] != numbers[0] + i) return LedgerDamaged(folder.PathOf(numbers[0] + i) + " is missing");
  return numbers;
}

Status MakeSegment(const SegmentFolder& folder, uint64_t number, std::string_view records, uint64_t size) {
  if (size == 0) size = folder.segment_bytes;
  CHECK(size % kSegmentHeader == 0 && kSegmentHeader + records.size() <= size);
  std::string path = folder.PathOf(number);
  std::string fresh = path + std::string(kFresh);
  ECLUSE_TRY(auto left_over, folder.files->Find(fresh));
  if (left_over) ECLUSE_OK(folder.files->Remove(fresh));
  Status done;
  {
    ECLUSE_TRY(auto file, folder.files->Open(fresh, OpenMode::create));
    done = Fill(*file, fresh, HeaderText(folder, number, size), records, size);
    if (done) done = file->SyncAll();
  }
  if (!done) {
    (void)folder.files->Remove(fresh);  // gives its space back; the failure is what is reported
    return done;
  }
  ECLUSE_OK(folder.files->Rename(fresh, path));
  return folder.files->SyncDirectory(folder.path);
}

Result<uint64_t> CheckSegment(const SegmentFolder& folder, uint64_t number, File& file) {
  std::string path = folder.PathOf(number);
  ECLUSE_TRY(auto info, file.Info());
  std::string head(kSegmentHeader, '\0');
  std::span<uint8_t> into{reinterpret_cast<uint8_t*>(head.data()), head.size()};
  ECLUSE_TRY(size_t n, file.ReadAt(0, into));
  if (n != head.size() || head != HeaderText(folder, number, info.size))
    return LedgerDamaged(path + " is not the segment its name says, or was cut short");
  return info.size;
}

Result<uint64_t> VisitSegment(const SegmentFolder& folder, uint64_t number,
                              const std::function<bool(const Record&, uint64_t offset)>& visit, uint64_t offset) {
  ECLUSE_TRY(auto file, folder.files->Open(folder.PathOf(number), OpenMode::read));
  ECLUSE_TRY(uint64_t size, CheckSegment(folder, number, *file));
  Window window(*file, size);
  while (offset < size && size - offset >= kRecordHeader) {
    ECLUSE_TRY(auto bytes, window.At(offset, RecordSize(limits::kEntry)));
    auto record = ReadRecord(bytes, folder.ledger);
    if (!record) break;
    uint64_t next = offset + RecordSize(record->header.length);
    if (!visit(*record, offset)) return next;
    offset = next;
  }
  return offset;
}

Result<std::optional<uint64_t>> FirstInSegments(const SegmentFolder& folder) {
  ECLUSE_TRY(auto numbers, ListSegments(folder, false));
  return FirstSeq(folder, numbers, 0);
}

Status RetireSegments(const SegmentFolder& folder, uint64_t bundled,
                      const std::function<void(uint64_t first_left)>& leaving) {
  ECLUSE_TRY(auto numbers, ListSegments(folder, false));
  size_t going = 0;
  for (; going + 1 < numbers.size(); ++going) {
    ECLUSE_TRY(auto next, FirstSeq(folder, numbers, going + 1));
    if (!next || *next >= bundled) break;  // what the last one kept holds is under the checkpoint
  }
  if (going == 0) return {};
  leaving(numbers[going]);
  // One at a time, so that a crash leaves no gap.
  for (size_t i = 0; i < going; ++i) {
    ECLUSE_OK(folder.files->Remove(folder.PathOf(numbers[i])));
    ECLUSE_OK(folder.files->SyncDirectory(folder.path));
  }
  return {};
}

namespace {

// Whether the entry lies where it is said to.
bool LiesThere(const SegmentFolder& folder, const std::vector<uint64_t>& numbers, const RecordPlace& place) {
  if (numbers.empty() || place.segment < numbers.front() || place.segment > numbers.back()) return false;
  bool there = false;
  const auto look = [&](const Record& record, uint64_t) {
    there = record.header.seq == place.seq;
    return false;
  };
  return place.offset >= kSegmentHeader && VisitSegment(folder, place.segment, look, place.offset) && there;
}

}  // namespace

Status VisitEntries(const SegmentFolder& folder, uint64_t first, uint64_t end,
                    const std::function<bool(const Record&)>& visit, const RecordPlace& known) {
  if (first >= end) return {};
  ECLUSE_TRY(auto numbers, ListSegments(folder, false));
  size_t at = 0;
  std::optional<uint64_t> start;
  uint64_t offset = kSegmentHeader;
  if (known.seq <= first && LiesThere(folder, numbers, known)) {
    at = known.segment - numbers.front();
    start = known.seq;
    offset = known.offset;
  } else {
    ECLUSE_TRY(at, FindSegment(folder, numbers, first));
    ECLUSE_TRY(start, FirstSeq(folder, numbers, at));
  }
  if (start && *start > first)
    return LedgerDamaged(fmt::format("entry {} is in no segment: the first begins at {}", first, *start));
  while (start) {
    ECLUSE_TRY(auto next_start, FirstSeq(folder, numbers, at + 1));
    uint64_t expected = *start;
    bool gap = false, stopped = false;
    const auto take = [&](const Record& record, uint64_t) {
      if (expected >= end) return false;
      gap = record.header.seq != expected;
      if (gap) return false;
      stopped = expected >= first && !visit(record);
      ++expected;
      return !stopped;
    };
    ECLUSE_TRY(uint64_t behind, VisitSegment(folder, numbers[at], take, std::exchange(offset, kSegmentHeader)));
    if (stopped) return {};
    // Where nobody knows how many entries there are, the last segment may end anywhere.
    uint64_t due = next_start ? std::min(end, *next_start) : end == UINT64_MAX ? 0 : end;
    if (gap || expected < due || (next_start && *next_start < expected && expected < end))
      return LedgerDamaged(fmt::format("{}: entry {} is not where it belongs (offset {})", folder.PathOf(numbers[at]),
                                       expected, behind));
    if (expected >= end) return {};
    start = next_start;
    ++at;
  }
  if (end == UINT64_MAX) return {};
  return LedgerDamaged(fmt::format("{} holds fewer than {} entries", folder.path, end));
}

Result<uint64_t> SegmentBefore(const SegmentFolder& folder, int64_t time) {
  ECLUSE_TRY(auto numbers, ListSegments(folder, false));
  uint64_t first = 0;
  size_t low = 0, high = numbers.size();
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    bool older = false;
    ECLUSE_OK(VisitSegment(folder, numbers[middle], [&](const Record& record, uint64_t) {
      older = EntryTime(record.entry) < time;
      if (older) first = record.header.seq;
      return false;
    }));
    if (older) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return first;
}

// The segment that holds entry `next_`, and its place there.
Status RecordCursor::Find() {
  ECLUSE_TRY(auto numbers, ListSegments(folder_, false));
  if (numbers.empty()) return LedgerDamaged(folder_.path + " holds no segment");
  ECLUSE_TRY(size_t at, FindSegment(folder_, numbers, next_));
  ECLUSE_TRY(auto start, FirstSeq(folder_, numbers, at));
  const uint64_t number = numbers[at];
  uint64_t expected = start.value_or(next_);
  if (expected > next_)
    return LedgerDamaged(fmt::format("{} begins at entry {}, behind {}", folder_.PathOf(number), expected, next_));
  offset_ = kSegmentHeader;
  if (expected < next_) {
    ECLUSE_TRY(offset_, VisitSegment(folder_, number, [&](const Record& record, uint64_t) {
                 ++expected;
                 return record.header.seq + 1 < next_;
               }));
  }
  ECLUSE_TRY(file_, folder_.files->Open(folder_.PathOf(number), OpenMode::read));
  ECLUSE_TRY(size_, CheckSegment(folder_, number, *file_));
  number_ = number;
  return {};
}

Status RecordCursor::Advance(uint64_t end, const std::function<Status(const Record&)>& visit) {
  if (next_ >= end) return {};
  if (number_ == 0) ECLUSE_OK(Find());
  auto window = std::make_unique<Window>(*file_, size_);  // what was read before may have been written since
  while (next_ < end) {
    std::optional<Record> record;
    if (offset_ + kRecordHeader <= size_) {
      ECLUSE_TRY(auto bytes, window->At(offset_, RecordSize(limits::kEntry)));
      record = ReadRecord(bytes, folder_.ledger);
    }
    if (!record) {
      ++number_;
      ECLUSE_TRY(file_, folder_.files->Open(folder_.PathOf(number_), OpenMode::read));
      ECLUSE_TRY(size_, CheckSegment(folder_, number_, *file_));
      offset_ = kSegmentHeader;
      window = std::make_unique<Window>(*file_, size_);
      ECLUSE_TRY(auto bytes, window->At(offset_, RecordSize(limits::kEntry)));
      record = ReadRecord(bytes, folder_.ledger);
    }
    if (!record || record->header.seq != next_)
      return LedgerDamaged(
          fmt::format("{}: entry {} is not where it belongs (offset {})", folder_.PathOf(number_), next_, offset_));
    ECLUSE_OK(visit(*record));
    offset_ += RecordSize(record->header.length);
    ++next_;
  }
  return {};
}

}  // namespace ecluse
