#include "ledger/record.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <optional>

#include "base/bytes.h"
#include "base/check.h"
#include "base/limits.h"

namespace ecluse {
namespace {

constexpr char kMagic[] = "ECLR";
constexpr size_t kChecksumAt = 44;

constexpr std::array<uint32_t, 256> MakeTable() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t v = i;
    for (int bit = 0; bit < 8; ++bit) v = v >> 1 ^ (v & 1 ? 0x82F63B78u : 0);
    table[i] = v;
  }
  return table;
}
constexpr auto kTable = MakeTable();

uint32_t BySoftware(uint32_t crc, std::span<const uint8_t> bytes) {
  for (uint8_t byte : bytes) crc = crc >> 8 ^ kTable[(crc ^ byte) & 0xFF];
  return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) uint32_t ByHardware(uint32_t crc, std::span<const uint8_t> bytes) {
  uint64_t wide = crc;
  size_t i = 0;
  for (; i + 8 <= bytes.size(); i += 8) {
    uint64_t eight;
    std::memcpy(&eight, bytes.data() + i, 8);
    wide = __builtin_ia32_crc32di(wide, eight);
  }
  crc = static_cast<uint32_t>(wide);
  for (; i < bytes.size(); ++i) crc = __builtin_ia32_crc32qi(crc, bytes[i]);
  return crc;
}
#endif

std::span<const uint8_t> Checked(const uint8_t* record, size_t length) { return {record + kRecordHeader, length}; }

}  // namespace

uint32_t Crc32c(uint32_t crc, std::span<const uint8_t> bytes) {
#if defined(__x86_64__)
  static const bool hardware = __builtin_cpu_supports("sse4.2");
  if (hardware) return ~ByHardware(~crc, bytes);
#endif
  return ~BySoftware(~crc, bytes);
}

void FinishRecord(std::string& out, size_t start, uint64_t seq, uint64_t group, const LedgerId& ledger) {
  CHECK(out.size() > start + kRecordHeader);
  size_t length = out.size() - start - kRecordHeader;
  std::string header(kMagic, 4);
  AppendU32(header, static_cast<uint32_t>(length));
  AppendU64(header, seq);
  AppendU64(header, group);
  header.append(reinterpret_cast<const char*>(ledger.data()), ledger.size());
  AppendU32(header, 0);
  uint32_t crc = Crc32c(0, AsBytes(header));
  crc = Crc32c(crc, AsBytes(std::string_view(out).substr(start + kRecordHeader)));
  AppendU32(header, crc);
  std::memcpy(out.data() + start, header.data(), kRecordHeader);
  out.resize(start + RecordSize(length), '\0');
}

std::optional<RecordHeader> ReadHeader(std::span<const uint8_t> bytes) {
  if (bytes.size() < kRecordHeader || std::memcmp(bytes.data(), kMagic, 4) != 0) return std::nullopt;
  const char* at = reinterpret_cast<const char*>(bytes.data());
  RecordHeader header;
  header.length = LoadU32(at + 4);
  header.seq = LoadU64(at + 8);
  header.group = LoadU64(at + 16);
  std::memcpy(header.ledger.data(), at + 24, header.ledger.size());
  header.checksum = LoadU32(at + kChecksumAt);
  if (header.length == 0 || header.length > limits::kEntry) return std::nullopt;
  return header;
}

std::optional<Record> ReadRecord(std::span<const uint8_t> bytes, const LedgerId& ledger) {
  auto header = ReadHeader(bytes);
  if (!header || header->ledger != ledger || RecordSize(header->length) > bytes.size()) return std::nullopt;
  uint32_t crc = Crc32c(0, bytes.first(kChecksumAt));
  crc = Crc32c(crc, Checked(bytes.data(), header->length));
  if (crc != header->checksum) return std::nullopt;
  const auto padding = bytes.first(RecordSize(header->length)).subspan(kRecordHeader + header->length);
  if (std::ranges::any_of(padding, [](uint8_t byte) { return byte != 0; })) return std::nullopt;
  return Record{*header, {reinterpret_cast<const char*>(bytes.data()) + kRecordHeader, header->length}};
}

namespace {

// Where the last `what`, which is not empty, begins in `text`; npos where it is not there.
size_t LastOf(std::string_view text, std::string_view what) {
  for (size_t end = text.size(); end >= what.size();) {
    const void* found = memrchr(text.data(), what.front(), end - what.size() + 1);
    if (found == nullptr) break;
    const auto at = static_cast<size_t>(static_cast<const char*>(found) - text.data());
    if (text.substr(at).starts_with(what)) return at;
    end = at + what.size() - 1;
  }
  return std::string_view::npos;
}

// The last member `name` of an entry, a number. What a client wrote cannot hold these bytes: its
// quotes are escaped.
template <typename Number>
std::optional<Number> LastNumber(std::string_view json, std::string_view name) {
  const size_t at = LastOf(json, name);
  Number number = 0;
  if (at == std::string_view::npos) return std::nullopt;
  const auto [end, error] = std::from_chars(json.data() + at + name.size(), json.data() + json.size(), number);
  return error == std::errc() ? std::optional(number) : std::nullopt;
}

}  // namespace

int64_t EntryTime(std::string_view json) { return LastNumber<int64_t>(json, "\"time\":").value_or(0); }

std::optional<uint64_t> EntrySeq(std::string_view json) { return LastNumber<uint64_t>(json, ",\"seq\":"); }

}  // namespace ecluse
