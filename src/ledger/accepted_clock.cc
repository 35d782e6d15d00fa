#include "ledger/accepted_clock.h"

#include <fmt/format.h>

#include <boost/json.hpp>
#include <charconv>

#include "ledger/entries.h"
#include "ledger/json.h"

namespace ecluse {
namespace {

constexpr size_t kFileLimit = 4'096;
constexpr std::string_view kHeader = "ecluse clock v1\nentry ";
constexpr std::string_view kReason = "clock accepted, microseconds behind: ";

std::string PathOf(const SegmentFolder& folder) { return folder.path + "/clock"; }

// The number at the start of `text`; 0 where there is none.
int64_t NumberAt(std::string_view text) {
  int64_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

// What an entry accepts; 0 where it is none that accepts a clock.
int64_t LagIn(std::string_view entry) {
  if (!entry.contains(kReason)) return 0;  // every entry that is removed passes here
  boost::system::error_code failed;
  boost::json::value parsed = boost::json::parse({entry.data(), entry.size()}, failed);
  if (failed || !parsed.is_object()) return 0;
  const std::string_view reason = TextOf(parsed.get_object(), "reason");
  if (TextOf(parsed.get_object(), "kind") != "approval" || !reason.starts_with(kReason)) return 0;
  return NumberAt(reason.substr(kReason.size()));
}

}  // namespace

bool AcceptsClock(std::string_view entry) { return LagIn(entry) != 0; }

std::string AcceptanceReason(int64_t behind, const std::string& reason) {
  return fmt::format("{}{}; {}", kReason, behind, reason);
}

Status KeepAcceptance(const SegmentFolder& folder, uint64_t seq) {
  return ReplaceFile(*folder.files, PathOf(folder), fmt::format("{}{}\n", kHeader, seq));
}

Status ForgetAcceptance(const SegmentFolder& folder) {
  ECLUSE_TRY(auto present, folder.files->Find(PathOf(folder)));
  if (!present) return {};
  return folder.files->Remove(PathOf(folder));
}

// The file only says where to look: what was accepted stands in the ledger.
Result<int64_t> AcceptedLag(const SegmentFolder& folder) {
  ECLUSE_TRY(auto present, folder.files->Find(PathOf(folder)));
  if (!present) return 0;
  ECLUSE_TRY(std::string text, ReadWholeFile(*folder.files, PathOf(folder), kFileLimit));
  if (!text.starts_with(kHeader)) return 0;
  auto seq = static_cast<uint64_t>(NumberAt(std::string_view(text).substr(kHeader.size())));
  int64_t lag = 0;
  ECLUSE_OK(Entries(folder).Visit(seq, UINT64_MAX, [&](const EntryView& entry) {
    if (entry.seq == seq) lag = LagIn(entry.json);
    return false;
  }));
  return lag;
}

}  // namespace ecluse
