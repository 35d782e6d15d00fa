#include "vault/literal_keys.h"

#include <fmt/format.h>

#include <chrono>
#include <sstream>

#include "base/bytes.h"
#include "base/file.h"
#include "base/limits.h"

namespace ecluse {
namespace {

constexpr std::string_view kHeader = "ecluse literal key v1";
constexpr size_t kFileLimit = 4'096;

// Months since the year 0, of which the first four bytes of a key's id tell: so the right file is found from an
// envelope alone.
int64_t MonthOf(int64_t wall_micros) {
  const std::chrono::sys_days day = std::chrono::floor<std::chrono::days>(
      std::chrono::sys_time<std::chrono::microseconds>(std::chrono::microseconds(wall_micros)));
  const std::chrono::year_month_day date(day);
  return static_cast<int>(date.year()) * 12 + static_cast<unsigned>(date.month()) - 1;
}
int64_t MonthOf(const KeyId& id) { return LoadU32(reinterpret_cast<const char*>(id.data())); }
std::string NameOf(int64_t month) { return fmt::format("{:04}-{:02}", month / 12, month % 12 + 1); }

std::string Binding(std::string_view name, const KeyId& id) {
  return fmt::format("ecluse literals {} {}", name, HexEncode(id));
}

}  // namespace

std::unexpected<Error> LiteralKeys::Damaged(const std::string& name) const {
  return Fail(sqlstate::kIo, fmt::format("the key of literals of {} is damaged", name),
              "restore <data_dir>/keys from a copy made with the gate stopped", "vault.keys", folder_ + "/" + name);
}

Result<std::string> LiteralKeys::Seal(int64_t wall_micros, std::string_view plain, std::string_view associated) {
  ECLUSE_TRY(const Month month, KeyOf(MonthOf(wall_micros), true));
  return SealEnvelope(month->key, month->id, plain, associated);
}

Result<std::optional<std::string>> LiteralKeys::Open(std::string_view sealed, std::string_view associated) {
  const auto id = EnvelopeKeyId(sealed);
  const auto altered = [] {
    return Fail(sqlstate::kIo, "sealed literals do not open", "they were altered, or moved from where they belong",
                "vault.keys");
  };
  if (!id) return altered();
  ECLUSE_TRY(const Month month, KeyOf(MonthOf(*id), false));
  if (!month || month->id != *id) return std::nullopt;
  auto plain = OpenEnvelope(month->key, sealed, associated);
  if (!plain) return altered();
  return std::optional(*std::move(plain));
}

// Null where there is none and `make` is false.
Result<LiteralKeys::Month> LiteralKeys::KeyOf(int64_t month, bool make) {
  std::lock_guard lock(mutex_);
  if (const auto known = months_.find(month); known != months_.end()) return known->second;
  const std::string name = NameOf(month);
  ECLUSE_TRY(const auto present, files_.Find(folder_ + "/" + name));
  if (!present && !make) return nullptr;
  bool lost = false;
  if (present) {
    auto key = Load(name);
    lost = !key && make && key.error().rule == kGenerationGone;  // put back from a copy that is too old
    if (!key && !lost) return std::unexpected(std::move(key).error());
    if (key) return months_[month] = *std::move(key);
  }
  if (!present || lost) {
    WrappedKey key{RandomKeyId(), Xaes(RandomKey())};
    StoreU32(reinterpret_cast<char*>(key.id.data()), static_cast<uint32_t>(month));
    ECLUSE_OK(Keep(name, key));
    if (made_) made_({"literals", name, HexEncode(key.id)});
  }
  ECLUSE_TRY(Month key, Load(name));
  return months_[month] = std::move(key);
}

Status LiteralKeys::Keep(const std::string& name, const WrappedKey& key) const {
  const Secret secret(key.key.key());
  const std::string envelope = generations_.Wrap(secret.text(), Binding(name, key.id));
  return ReplaceFile(
      files_, folder_ + "/" + name,
      fmt::format("{}\nliterals {} {} {}\n", kHeader, name, HexEncode(key.id), Base64Encode(AsBytes(envelope))));
}

Result<LiteralKeys::Month> LiteralKeys::Load(const std::string& name) const {
  ECLUSE_TRY(const std::string content, ReadWholeFile(files_, folder_ + "/" + name, kFileLimit));
  std::istringstream lines(content);
  std::string header, kind, month, id_text, coded;
  std::getline(lines, header);
  lines >> kind >> month >> id_text >> coded;
  const auto id = ParseKeyId(id_text);
  const auto envelope = Base64Decode(coded);
  if (header != kHeader || kind != "literals" || month != name || !id || NameOf(MonthOf(*id)) != name || !envelope)
    return Damaged(name);
  ECLUSE_TRY(Secret key, generations_.Unwrap({reinterpret_cast<const char*>(envelope->data()), envelope->size()},
                                             Binding(name, *id)));
  if (key.size() != kXaesKey) return Damaged(name);
  return std::make_shared<const WrappedKey>(WrappedKey{*id, Xaes(std::move(key))});
}

Result<std::vector<std::string>> LiteralKeys::Names() const {
  ECLUSE_TRY(auto names, files_.List(folder_));
  std::erase_if(names, [](const std::string& name) { return name.size() != 7; });  // what an interrupted write left
  return names;
}

Status LiteralKeys::WrapAnew() {
  std::lock_guard lock(mutex_);
  ECLUSE_TRY(const auto names, Names());
  for (const std::string& name : names) {
    const auto key = Load(name);
    if (!key && key.error().rule == kGenerationGone) continue;  // put back from a copy that is too old: it is lost
    if (!key) return std::unexpected(key.error());
    ECLUSE_OK(Keep(name, **key));
  }
  return {};
}

Status LiteralKeys::DestroyEndedBefore(int64_t wall_micros,
                                       const std::function<Status(const std::string& month)>& tell) {
  const std::string left = NameOf(MonthOf(wall_micros));
  std::lock_guard lock(mutex_);
  ECLUSE_TRY(const auto names, Names());
  for (const std::string& name : names) {
    if (name >= left) continue;
    ECLUSE_OK(tell(name));
    ECLUSE_OK(files_.Remove(folder_ + "/" + name));
    ECLUSE_OK(files_.SyncDirectory(folder_));
    months_.clear();
  }
  return {};
}

Result<std::vector<KeyInfo>> LiteralKeys::List() const {
  std::vector<KeyInfo> all;
  ECLUSE_TRY(const auto names, Names());
  for (const std::string& name : names) {
    ECLUSE_TRY(const std::string content, ReadWholeFile(files_, folder_ + "/" + name, kFileLimit));
    std::istringstream words(content);
    std::string header, kind, month, id;
    std::getline(words, header);
    words >> kind >> month >> id;
    if (header != kHeader || month != name) return Damaged(name);
    all.push_back({"literals", name, id});
  }
  return all;
}

void LiteralKeys::OnMade(std::function<void(const KeyInfo&)> made) {
  std::lock_guard lock(mutex_);
  made_ = std::move(made);
}

}  // namespace ecluse
