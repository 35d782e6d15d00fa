// One record of the write-ahead segments: a header and an entry. Layout: docs/ledger_format.md, "Records".
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace ecluse {

using LedgerId = std::array<uint8_t, 16>;

inline constexpr size_t kRecordHeader = 48;
inline constexpr size_t kRecordAlignment = 8;

struct RecordHeader {
  uint32_t length = 0;  // of the entry
  uint64_t seq = 0;
  uint64_t group = 0;  // sequence of the first entry written together with this one: all before it was durable by then
  LedgerId ledger{};
  uint32_t checksum = 0;  // CRC-32C of the header before it, and the entry
};

// CRC-32C (Castagnoli, RFC 3720 appendix B.4) of `bytes`, going on from `crc`.
uint32_t Crc32c(uint32_t crc, std::span<const uint8_t> bytes);

// Bytes that a record with an entry of `length` takes, padding included.
constexpr size_t RecordSize(size_t length) {
  return (kRecordHeader + length + kRecordAlignment - 1) / kRecordAlignment * kRecordAlignment;
}

// Makes the record of an entry that lies at `out[start + kRecordHeader...]` up to the end of `out`: fills the header in
// front of it and pads.
void FinishRecord(std::string& out, size_t start, uint64_t seq, uint64_t group, const LedgerId& ledger);

// The header at the start of `bytes`; nullopt where magic or length is none.
std::optional<RecordHeader> ReadHeader(std::span<const uint8_t> bytes);

struct Record {
  RecordHeader header;
  std::string_view entry;
};
// The record at the start of `bytes`, whole and with the right checksum and ledger; else nullopt.
std::optional<Record> ReadRecord(std::span<const uint8_t> bytes, const LedgerId& ledger);

// The time of a stored entry, 0 where it has none, and its sequence: its last members but one and but two.
int64_t EntryTime(std::string_view json);
std::optional<uint64_t> EntrySeq(std::string_view json);

}  // namespace ecluse
