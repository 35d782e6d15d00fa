#include "ledger/recovery.h"

#include <fmt/format.h>

#include <algorithm>
#include <new>
#include <optional>

#include "base/log.h"

namespace ecluse {
namespace {

constexpr std::align_val_t kAlignment{4'096};
constexpr size_t kReadStep = 4 * 1024 * 1024;

// Memory that O_DIRECT reads into.
class AlignedBuffer {
 public:
  explicit AlignedBuffer(size_t size)
      : data_(static_cast<uint8_t*>(::operator new[](std::max<size_t>(size, 1), kAlignment))), size_(size) {}
  ~AlignedBuffer() { ::operator delete[](data_, kAlignment); }
  AlignedBuffer(AlignedBuffer&& other) noexcept : data_(other.data_), size_(other.size_) {
    other.data_ = nullptr;
    other.size_ = 0;
  }
  AlignedBuffer(const AlignedBuffer&) = delete;
  std::span<uint8_t> bytes() { return {data_, size_}; }
  std::span<const uint8_t> bytes() const { return {data_, size_}; }

 private:
  uint8_t* data_;
  size_t size_;
};

// A whole segment as it is on disk.
Result<AlignedBuffer> ReadDirect(const SegmentFolder& folder, uint64_t number) {
  uint64_t size = 0;
  {
    ECLUSE_TRY(auto file, folder.files->Open(folder.PathOf(number), OpenMode::read));
    ECLUSE_TRY(size, CheckSegment(folder, number, *file));
  }
  ECLUSE_TRY(auto file, folder.files->Open(folder.PathOf(number), OpenMode::read_direct));
  AlignedBuffer buffer(size);
  for (size_t have = 0; have < size;) {
    ECLUSE_TRY(size_t n, file->ReadAt(have, buffer.bytes().subspan(have, std::min(kReadStep, size - have))));
    if (n == 0 || n % kSegmentHeader != 0)
      return LedgerDamaged(fmt::format("{} could be read up to {} only", folder.PathOf(number), have + n));
    have += n;
  }
  return buffer;
}

struct Prefix {
  uint64_t end = kSegmentHeader;  // behind the last whole record
  std::optional<uint64_t> first_seq;
  uint64_t next_seq = 0;
  int64_t last_time = 0;
};

// The records that are whole and follow each other from the start.
Result<Prefix> ReadPrefix(const SegmentFolder& folder, uint64_t number, std::span<const uint8_t> bytes) {
  Prefix prefix;
  uint64_t group = 0;
  while (prefix.end + kRecordHeader <= bytes.size()) {
    auto record = ReadRecord(bytes.subspan(prefix.end), folder.ledger);
    if (!record) break;
    const RecordHeader& header = record->header;
    int64_t time = EntryTime(record->entry);
    bool follows = !prefix.first_seq || header.seq == prefix.next_seq;
    if (!follows || header.group > header.seq || header.group < group || time < prefix.last_time)
      return LedgerDamaged(
          fmt::format("{}: the record at {} does not follow the one before it", folder.PathOf(number), prefix.end));
    if (!prefix.first_seq) prefix.first_seq = header.seq;
    prefix.next_seq = header.seq + 1;
    prefix.last_time = time;
    prefix.end += RecordSize(header.length);
    group = header.group;
  }
  return prefix;
}

// What lies behind the last whole record. A group that a crash cut short leaves anything there, but no record of a
// later group: that would have been written only after this one was durable.
struct Rest {
  uint64_t used = 0;                     // bytes up to the last that is not zero
  std::optional<uint64_t> latest_group;  // the highest among whole records found
};
Rest ReadRest(const SegmentFolder& folder, std::span<const uint8_t> bytes, uint64_t from) {
  Rest rest;
  for (uint64_t i = bytes.size(); i > from; --i) {
    if (bytes[i - 1] == 0) continue;
    rest.used = i - from;
    break;
  }
  for (uint64_t at = from; at < from + rest.used; at += kRecordAlignment) {
    auto record = ReadRecord(bytes.subspan(at), folder.ledger);
    if (record) rest.latest_group = std::max(rest.latest_group.value_or(0), record->header.group);
  }
  return rest;
}

Status RefuseLost(const SegmentFolder& folder, uint64_t number, const Rest& rest, uint64_t next_seq) {
  if (!rest.latest_group || *rest.latest_group <= next_seq) return {};
  return LedgerDamaged(fmt::format("{}: entries {} to {} were durable and are gone", folder.PathOf(number), next_seq,
                                   *rest.latest_group - 1));
}

}  // namespace

Result<RecoveredTail> RecoverTail(const SegmentFolder& folder) {
  ECLUSE_TRY(auto numbers, ListSegments(folder, true));
  if (numbers.empty()) {
    ECLUSE_OK(MakeSegment(folder, 1, {}));
    numbers = {1};
  }
  RecoveredTail tail;
  std::vector<std::pair<uint64_t, Rest>> behind;
  while (true) {
    uint64_t number = numbers.back();
    ECLUSE_TRY(AlignedBuffer buffer, ReadDirect(folder, number));
    ECLUSE_TRY(Prefix prefix, ReadPrefix(folder, number, buffer.bytes()));
    Rest rest = ReadRest(folder, buffer.bytes(), prefix.end);
    behind.emplace_back(number, rest);
    tail.dropped_bytes += rest.used;
    if (!prefix.first_seq && numbers.size() > 1) {
      numbers.pop_back();
      continue;
    }
    if (number != 1 && !prefix.first_seq)
      return LedgerDamaged("no segment holds an entry, and the last that did always stays");
    if (number == 1 && prefix.first_seq.value_or(0) != 0) return LedgerDamaged("the first segment does not begin at 0");
    tail.segment = number;
    tail.offset = prefix.end;
    tail.size = buffer.bytes().size();
    tail.next_seq = prefix.next_seq;
    tail.last_time = prefix.last_time;
    for (const auto& [segment, found] : behind) ECLUSE_OK(RefuseLost(folder, segment, found, tail.next_seq));
    behind.pop_back();
    // Before the new file is made, because the disk may be nearly full. The highest first and one at a time, so that a
    // crash leaves no gap.
    for (const auto& [segment, unused] : behind) {
      ECLUSE_OK(folder.files->Remove(folder.PathOf(segment)));
      ECLUSE_OK(folder.files->SyncDirectory(folder.path));
    }
    // Everything that reads or writes the tail from here on uses a file that this process wrote and synced as a whole.
    auto records = buffer.bytes().subspan(kSegmentHeader, prefix.end - kSegmentHeader);
    ECLUSE_OK(MakeSegment(folder, number, {reinterpret_cast<const char*>(records.data()), records.size()}, tail.size));
    break;
  }
  if (tail.dropped_bytes > 0)
    Log().warn("the ledger ended in {} bytes of a write that was never acknowledged; they were dropped",
               tail.dropped_bytes);
  return tail;
}

}  // namespace ecluse
