#include "vault/keys.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <openssl/crypto.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <sstream>

#include "base/bytes.h"
#include "base/check.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/random.h"
#include "base/time_text.h"
#include "vault/generations.h"
#include "vault/hmac.h"
#include "vault/literal_keys.h"
#include "vault/ring_file.h"
#include "vault/root_key.h"
#include "vault/xaes.h"

namespace ecluse {
namespace {

constexpr std::string_view kDayHeader = "ecluse day key v1";
constexpr size_t kFileLimit = 64 * 1024;
constexpr int64_t kDayMicros = 86'400'000'000;

std::unexpected<Error> Unavailable(std::string message, std::string hint, std::string detail = {}) {
  return Fail(sqlstate::kIo, std::move(message), std::move(hint), "vault.keys", std::move(detail));
}

std::string DayName(int64_t day) {
  return fmt::format("{:%Y-%m-%d}", fmt::gmtime(static_cast<std::time_t>(day * 86'400)));
}

// The day in the first four bytes lets the right file be found from an envelope alone.
KeyId DayId(int64_t day) {
  KeyId id = RandomKeyId();
  StoreU32(reinterpret_cast<char*>(id.data()), static_cast<uint32_t>(day));
  return id;
}
int64_t DayOf(const KeyId& id) { return LoadU32(reinterpret_cast<const char*>(id.data())); }

class FileKeyRing final : public KeyRing {
 public:
  FileKeyRing(FileSystem& files, RootSource root, std::string folder, Ring ring)
      : files_(files),
        root_(std::move(root)),
        folder_(std::move(folder)),
        ring_(std::move(ring)),
        index_(ring_.index->key.key()),
        pseudonym_(ring_.pseudonym->key.key()) {}

  Status OpenGenerations() {
    ECLUSE_TRY(generations_, Generations::Open(files_, root_.generations_file(), *ring_.gate));
    literal_keys_ = std::make_unique<LiteralKeys>(files_, folder_ + "/literals", *generations_);
    return {};
  }

  Result<std::string> SealForDay(int64_t wall_micros, std::string_view plain, std::string_view associated) override {
    if (wall_micros < 0)
      return Unavailable("the machine's clock is before 1970", "set the clock, then restart the gate");
    ECLUSE_TRY(auto day, KeyOfDay(wall_micros / kDayMicros, true));
    return SealEnvelope(day->key, day->id, plain, associated);
  }

  Result<std::string> OpenForDay(std::string_view sealed, std::string_view associated) override {
    auto id = EnvelopeKeyId(sealed);
    if (!id) return Unavailable("this is not a sealed value", "the entry is damaged");
    ECLUSE_TRY(auto day, KeyOfDay(DayOf(*id), false));
    if (day == nullptr || day->id != *id)
      return Unavailable(fmt::format("the key of {} is gone", DayName(DayOf(*id))),
                         "restore <data_dir>/keys/days from a copy, unless the key was destroyed on purpose");
    auto plain = OpenEnvelope(day->key, sealed, associated);
    if (!plain) return Unavailable("a sealed value does not open", "it was altered, or moved from where it belongs");
    return std::move(*plain);
  }

  void SubjectKey(std::string_view space, std::string_view id, uint8_t out[16]) const override {
    index_.Sign({space, ":", id}, {out, 16});
  }

  void Pseudonym(std::string_view role, std::string_view space, std::string_view id, uint8_t out[16]) const override {
    std::string length;
    AppendU16(length, static_cast<uint16_t>(role.size()));
    pseudonym_.Sign({length, role, space, ":", id}, {out, 16});
  }

  Result<Secret> SigningSeed() override {
    if (!ring_.ledger) {
      ECLUSE_TRY(const auto lock, LockRing(files_, folder_));
      const std::string path = folder_ + "/ring";
      ECLUSE_TRY(std::string content, ReadWholeFile(files_, path, limits::kRingBytes));
      if (content.contains("\nkey ledger "))
        return Unavailable("another process has made the ledger's key meanwhile", "start again", path);
      const KeyId id = RandomKeyId();
      const Secret seed = RandomKey();
      const bool as_read = content == ring_.content;
      content += WrapLine(ring_.gate->key, ring_.gate->id, "key", "ledger", id, seed.bytes());
      ECLUSE_OK(ReplaceFile(files_, path, content));
      if (as_read) ring_.content = content;
      ring_.ledger = WrappedKey{id, Xaes(seed.Copy())};
      ring_.names.push_back({"key", "ledger", HexEncode(id)});
    }
    return Secret(ring_.ledger->key.key());
  }

  Result<std::string> Wrap(std::string_view plain, std::string_view associated) override {
    return SealEnvelope(ring_.gate->key, ring_.gate->id, plain, associated);
  }

  Result<std::string> Unwrap(std::string_view wrapped, std::string_view associated) override {
    auto plain = OpenEnvelope(ring_.gate->key, wrapped, associated);
    if (!plain) return Unavailable("a wrapped secret does not open", "it was altered, or belongs to another key ring");
    return std::move(*plain);
  }

  Generations& generations() override { return *generations_; }
  LiteralKeys& literal_keys() override { return *literal_keys_; }

  std::shared_ptr<const CompartmentKeys> Compartment(std::string_view name) const override {
    std::shared_lock lock(mutex_);
    const auto found = ring_.compartments.find(name);
    return found == ring_.compartments.end() ? nullptr : found->second;
  }

  Result<uint64_t> TakeRing() override {
    ECLUSE_TRY(const std::string content, ReadWholeFile(files_, folder_ + "/ring", limits::kRingBytes));
    if (content == ring_.content) return 0;
    ECLUSE_TRY(const bool asks, AsksOnTerminal(files_, root_));
    if (asks)
      return Unavailable("the root key opens with what is typed, so a running gate cannot take new keys",
                         "restart the gate, or name a file with the passphrase or PIN in vault.root");
    ECLUSE_TRY(const auto root, OpenRoot(files_, root_, RootOf(content)));
    ECLUSE_TRY(Ring next, ParseRing(*root, content, folder_ + "/ring"));
    std::unique_lock lock(mutex_);
    if (!std::ranges::equal(next.gate->key.key(), ring_.gate->key.key()))
      return Unavailable("the ring of keys is not the one that was opened", "restart the gate", folder_);
    for (const KeyInfo& info : ring_.names) {
      if (info.kind == "data" && std::ranges::find(next.names, info.id, &KeyInfo::id) == next.names.end())
        return Unavailable(fmt::format("the ring of keys has lost the data key {}, so it is not taken", info.id),
                           "put back the newest copy of <data_dir>/keys/ring; where two people destroyed that key, "
                           "restart the gate or run the command again",
                           folder_);
    }
    for (const auto& [name, held] : ring_.compartments) {
      const auto found = next.compartments.find(name);
      if (found == next.compartments.end() || found->second->search_id != held->search_id ||
          !std::ranges::equal(found->second->link.bytes(), held->link.bytes()))
        return Unavailable(fmt::format("what the compartment {} is searched under has changed in the ring of keys", name),
                           "restart the gate, or run the command again", folder_);
    }
    uint64_t taken = 0;
    for (const KeyInfo& info : next.names) {
      if (std::ranges::find(ring_.names, info.id, &KeyInfo::id) != ring_.names.end()) continue;
      ++taken;
      if (made_) made_(info);
    }
    ring_.names = std::move(next.names);
    ring_.compartments = std::move(next.compartments);
    ring_.content = content;
    return taken;
  }

  Result<uint64_t> DestroyDaysBefore(int64_t wall_micros) override {
    const std::string folder = folder_ + "/days", left = DayName(wall_micros / kDayMicros);
    ECLUSE_TRY(auto names, files_.List(folder));
    uint64_t destroyed = 0;
    for (const std::string& name : names) {
      if (name.size() != left.size() || name >= left) continue;
      ECLUSE_OK(files_.Remove(folder + "/" + name));
      ++destroyed;
    }
    std::unique_lock lock(mutex_);
    days_.clear();
    if (destroyed > 0) ECLUSE_OK(files_.SyncDirectory(folder));
    return destroyed;
  }

  Result<std::vector<KeyInfo>> List() const override {
    std::shared_lock lock(mutex_);
    std::vector<KeyInfo> all = ring_.names;
    lock.unlock();
    for (const GenerationInfo& one : generations_->List()) all.push_back(KeyOf(one));
    ECLUSE_TRY(const auto months, literal_keys_->List());
    all.insert(all.end(), months.begin(), months.end());
    ECLUSE_TRY(auto names, files_.List(folder_ + "/days"));
    for (const auto& name : names) {
      if (name.size() != 10) continue;  // the left-over of an interrupted write
      ECLUSE_TRY(std::string content, ReadWholeFile(files_, folder_ + "/days/" + name, kFileLimit));
      std::istringstream words(content);
      std::string header, word, day, id;
      std::getline(words, header);
      words >> word >> day >> id;
      if (header != kDayHeader || day != name) return DamagedDay(name);
      all.push_back({"day", name, id});
    }
    return all;
  }

  void OnKeyMade(std::function<void(const KeyInfo&)> made) override {
    generations_->OnMade(made ? [made](const GenerationInfo& one) { made(KeyOf(one)); }
                              : std::function<void(const GenerationInfo&)>());
    literal_keys_->OnMade(made);
    std::unique_lock lock(mutex_);
    made_ = std::move(made);
  }

 private:
  static KeyInfo KeyOf(const GenerationInfo& one) { return {"generation", TimeText(one.made), one.id}; }

  using Day = std::shared_ptr<const WrappedKey>;

  static std::unexpected<Error> DamagedDay(const std::string& name) {
    return Unavailable(fmt::format("the key of {} is damaged", name), "restore <data_dir>/keys/days from a copy", name);
  }

  // Null where there is none and `make` is false.
  Result<Day> KeyOfDay(int64_t day, bool make) {
    {
      std::shared_lock lock(mutex_);
      if (auto it = days_.find(day); it != days_.end()) return it->second;
    }
    std::unique_lock lock(mutex_);
    if (auto it = days_.find(day); it != days_.end()) return it->second;
    std::string name = DayName(day);
    std::string path = folder_ + "/days/" + name;
    ECLUSE_TRY(auto present, files_.Find(path));
    if (!present && !make) return nullptr;
    if (!present) ECLUSE_OK(MakeDay(day, name, path));
    ECLUSE_TRY(Day key, LoadDay(name, path));
    if (!present && made_) made_({"day", name, HexEncode(key->id)});
    days_[day] = key;
    return key;
  }

  Status MakeDay(int64_t day, const std::string& name, const std::string& path) {
    KeyId id = DayId(day);
    Secret key = RandomKey();
    std::string text = fmt::format("{}\n", kDayHeader);
    text += WrapLine(ring_.gate->key, ring_.gate->id, "day", name, id, key.bytes());
    text += WrapLine(ring_.auditors->key, ring_.auditors->id, "auditors", name, id, key.bytes());
    return ReplaceFile(files_, path, text);
  }

  Result<Day> LoadDay(const std::string& name, const std::string& path) {
    ECLUSE_TRY(std::string content, ReadWholeFile(files_, path, kFileLimit));
    std::istringstream lines(content);
    std::string header, word, day, id_text, coded;
    std::getline(lines, header);
    lines >> word >> day >> id_text >> coded;
    auto id = ParseKeyId(id_text);
    if (header != kDayHeader || word != "day" || day != name || !id) return DamagedDay(name);
    auto key = UnwrapText(ring_.gate->key, "day", name, *id, coded);
    if (!key) return DamagedDay(name);
    return std::make_shared<const WrappedKey>(std::move(*key));
  }

  FileSystem& files_;
  const RootSource root_;
  const std::string folder_;
  Ring ring_;
  HmacKey index_, pseudonym_;
  std::unique_ptr<Generations> generations_;
  std::unique_ptr<LiteralKeys> literal_keys_;
  mutable std::shared_mutex mutex_;  // of ring_.names, ring_.compartments and what follows
  std::map<int64_t, Day> days_;
  std::function<void(const KeyInfo&)> made_;
};

bool Lacks(const Ring& ring, std::span<const std::string> compartments) {
  return std::ranges::any_of(compartments, [&](const std::string& name) { return !ring.compartments.contains(name); });
}

// Makes the ring, and the compartments it lacks. Under its lock.
Status CompleteRing(FileSystem& files, RootKey& root, const std::string& data_dir, const std::string& path,
                    std::span<const std::string> compartments) {
  std::string content;
  ECLUSE_TRY(auto present, files.Find(path));
  if (present) {
    ECLUSE_TRY(content, ReadWholeFile(files, path, limits::kRingBytes));
  } else {
    ECLUSE_TRY(auto days, files.List(data_dir + "/keys/days"));
    ECLUSE_TRY(auto ledger, files.Find(data_dir + "/ledger"));
    if (!days.empty() || ledger)
      return Unavailable("the gate's key ring is missing, and there is a ledger that only it opens",
                         "restore <data_dir>/keys from a copy made with the gate stopped", path);
    ECLUSE_TRY(content, MakeRing(root));
  }
  ECLUSE_TRY(const Ring ring, ParseRing(root, content, path));
  for (const std::string& name : compartments) {
    if (ring.compartments.contains(name)) continue;
    ECLUSE_TRY(const std::string lines, MakeCompartment(root, name));
    content += lines;
  }
  if (content.size() > limits::kRingBytes)
    return Unavailable("the gate's key ring has no room for more compartments", "name fewer in the policy");
  // What would not be read back is not written.
  if (auto whole = ParseRing(root, content, path); !whole) return std::unexpected(std::move(whole).error());
  ECLUSE_OK(ReplaceFile(files, path, content));
  return present ? Status() : files.SyncDirectory(data_dir);
}

// A ring under another root may be one whose root was being renewed.
Error WhyNotRead(FileSystem& files, const RootSource& source, const RootKey& root, const std::string& path,
                 Error error) {
  const auto next = source.in_token() ? std::nullopt : files.Find(NextRoot(source).file).value_or(std::nullopt);
  const auto content = ReadWholeFile(files, path, limits::kRingBytes);
  if (next && content && !content->contains("\nroot " + HexEncode(root.id()) + "\n"))
    error.hint = "a new root was being made: run `ecluse keys rotate --root` again, which finishes that";
  return error;
}

bool Inside(const std::string& path, const std::string& folder) {
  std::error_code ignored;
  auto file = std::filesystem::weakly_canonical(path, ignored);
  auto dir = std::filesystem::weakly_canonical(folder, ignored);
  auto [end, unused] = std::mismatch(dir.begin(), dir.end(), file.begin(), file.end());
  return end == dir.end();
}

}  // namespace

Status KeyRing::Init(const RootSource& root, bool passphrase) { return MakeRoot(RealFiles(), root, passphrase); }

const Xaes* CompartmentKeys::Find(const KeyId& id) const {
  const auto found = std::ranges::find(data_, id, &Data::id);
  return found == data_.end() ? nullptr : &found->key;
}

bool CompartmentKeys::AddData(const KeyId& id, Xaes key) {
  if (Find(id) != nullptr) return false;
  data_.push_back({id, std::move(key)});
  return true;
}

Result<std::unique_ptr<KeyRing>> KeyRing::Open(const RootSource& source, const std::string& data_dir, FileSystem* given,
                                               std::span<const std::string> compartments) {
  FileSystem& files = given != nullptr ? *given : RealFiles();
  for (const std::string& path : {source.file, source.passphrase_file, source.pin_file, source.generations_file()}) {
    if (!path.empty() && Inside(path, data_dir))
      return Unavailable("the root key, what opens it, or its generations lie inside the data folder that they protect",
                         "move them elsewhere and name them in vault.root and vault.generations", path);
  }
  std::string folder = data_dir + "/keys";
  std::string path = folder + "/ring";
  ECLUSE_TRY(auto present, files.Find(path));
  std::string content;
  if (present) {
    ECLUSE_TRY(content, ReadWholeFile(files, path, limits::kRingBytes));
  }
  ECLUSE_TRY(const auto root, OpenRoot(files, source, RootOf(content)));
  ECLUSE_OK(PreparePrivateFolder(files, data_dir));
  ECLUSE_OK(PreparePrivateFolder(files, folder));
  for (const char* name : {"/days", "/literals"}) ECLUSE_OK(PreparePrivateFolder(files, folder + name));
  std::optional<Ring> ring;
  if (present) {
    auto read = ParseRing(*root, content, path);
    if (!read) return std::unexpected(WhyNotRead(files, source, *root, path, std::move(read).error()));
    ring = *std::move(read);
  }
  if (!ring || Lacks(*ring, compartments)) {
    ECLUSE_TRY(const auto lock, LockRing(files, folder));
    ECLUSE_OK(CompleteRing(files, *root, data_dir, path, compartments));
    ECLUSE_TRY(ring, ReadRing(files, *root, path));
  }
  auto keys = std::make_unique<FileKeyRing>(files, source, folder, *std::move(ring));
  ECLUSE_OK(keys->OpenGenerations());
  return keys;
}

}  // namespace ecluse
