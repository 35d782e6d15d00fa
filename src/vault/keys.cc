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
#include "base/log.h"
#include "base/random.h"
#include "vault/hmac.h"
#include "vault/root_key.h"
#include "vault/xaes.h"

namespace ecluse {
namespace {

constexpr std::string_view kRingHeader = "ecluse key ring v1";
constexpr std::string_view kDayHeader = "ecluse day key v1";
constexpr size_t kFileLimit = 64 * 1024;
constexpr int64_t kDayMicros = 86'400'000'000;

std::unexpected<Error> Unavailable(std::string message, std::string hint, std::string detail = {}) {
  return Fail(sqlstate::kIo, std::move(message), std::move(hint), "vault.keys", std::move(detail));
}

struct WrappedKey {
  KeyId id;
  Xaes key;
};

std::string Associated(std::string_view kind, std::string_view name, const KeyId& id) {
  return fmt::format("ecluse {} {} {}", kind, name, HexEncode(id));
}

// A line `kind name id base64`, the last being the key in an envelope under `under`.
std::string WrapLine(const Xaes& under, const KeyId& under_id, std::string_view kind, std::string_view name,
                     const KeyId& id, std::span<const uint8_t> key) {
  std::string_view plain{reinterpret_cast<const char*>(key.data()), key.size()};
  std::string envelope = SealEnvelope(under, under_id, plain, Associated(kind, name, id));
  return fmt::format("{} {} {} {}\n", kind, name, HexEncode(id), Base64Encode(AsBytes(envelope)));
}

std::optional<KeyId> ParseId(const std::string& hex) {
  auto bytes = HexDecode(hex);
  KeyId id;
  if (!bytes || bytes->size() != id.size()) return std::nullopt;
  std::copy(bytes->begin(), bytes->end(), id.begin());
  return HexEncode(id) == hex ? std::optional(id) : std::nullopt;  // one spelling
}

// nullopt where the line is not one or does not open.
std::optional<WrappedKey> UnwrapText(const Xaes& under, std::string_view kind, std::string_view name, const KeyId& id,
                                     const std::string& coded) {
  auto bytes = Base64Decode(coded);
  if (!bytes) return std::nullopt;
  std::string_view envelope{reinterpret_cast<const char*>(bytes->data()), bytes->size()};
  auto plain = OpenEnvelope(under, envelope, Associated(kind, name, id));
  if (!plain || plain->size() != kXaesKey) return std::nullopt;
  Secret key{std::string_view(*plain)};
  OPENSSL_cleanse(plain->data(), plain->size());
  return WrappedKey{id, Xaes(std::move(key))};
}

KeyId RandomId() {
  KeyId id;
  RandomBytes(id);
  return id;
}

Secret RandomKey() {
  Secret key(kXaesKey);
  RandomBytes(key.mutable_bytes());
  return key;
}

std::string DayName(int64_t day) {
  return fmt::format("{:%Y-%m-%d}", fmt::gmtime(static_cast<std::time_t>(day * 86'400)));
}

// The day in the first four bytes lets the right file be found from an envelope alone.
KeyId DayId(int64_t day) {
  KeyId id = RandomId();
  StoreU32(reinterpret_cast<char*>(id.data()), static_cast<uint32_t>(day));
  return id;
}
int64_t DayOf(const KeyId& id) { return LoadU32(reinterpret_cast<const char*>(id.data())); }

// The keys of the file `ring`.
struct Base {
  std::vector<KeyInfo> names;
  std::optional<WrappedKey> gate, auditors, index, pseudonym, ledger;
  bool complete() const { return gate && auditors && index && pseudonym; }
};

// A key-encryption key of the ring, which the root wrapped.
Result<WrappedKey> UnwrapByRoot(RootKey& root, std::string_view kind, std::string_view name, const KeyId& id,
                                std::span<const uint8_t> wrapped) {
  ECLUSE_TRY(const Secret key,
             root.Unwrap({reinterpret_cast<const char*>(wrapped.data()), wrapped.size()}, Associated(kind, name, id)));
  return WrappedKey{id, Xaes(key.Copy())};
}

Result<std::string> WrapLineByRoot(RootKey& root, std::string_view kind, std::string_view name, const KeyId& id,
                                   const Secret& key) {
  ECLUSE_TRY(const std::string wrapped, root.Wrap(key.text(), Associated(kind, name, id)));
  return fmt::format("{} {} {} {}\n", kind, name, HexEncode(id), Base64Encode(AsBytes(wrapped)));
}

Result<Base> ParseRing(RootKey& root, const std::string& content, const std::string& path) {
  std::istringstream lines(content);
  std::string line, kind, name, id_text, coded;
  auto broken = [&] {
    return Unavailable("the gate's key ring is damaged",
                       "restore <data_dir>/keys from a copy made with the gate stopped",
                       fmt::format("{}: line `{}` does not open", path, kind + " " + name));
  };
  std::getline(lines, line);
  if (line != kRingHeader) return broken();
  lines >> kind >> id_text;
  if (kind != "root") return broken();
  if (id_text != HexEncode(root.id()))
    return Unavailable(fmt::format("the gate's keys were wrapped under root key {}, and the policy names {}",
                                   Printable(id_text), HexEncode(root.id())),
                       "put the root key of this data folder back, or correct vault.root", path);
  Base base;
  if (std::getline(lines, line) && !line.empty()) return broken();
  while (std::getline(lines, line)) {
    std::istringstream words(line);
    std::string more;
    if (!(words >> kind >> name >> id_text >> coded) || words >> more) return broken();
    auto id = ParseId(id_text);
    if (!id) return broken();
    std::optional<WrappedKey>* slot = nullptr;
    if (kind == "kek" && name == "gate") slot = &base.gate;
    if (kind == "kek" && name == "auditors") slot = &base.auditors;
    if (kind == "key" && name == "index") slot = &base.index;
    if (kind == "key" && name == "pseudonym") slot = &base.pseudonym;
    if (kind == "key" && name == "ledger") slot = &base.ledger;
    if (slot == nullptr || *slot || (kind == "key" && !base.gate)) return broken();
    if (kind == "kek") {
      const auto wrapped = Base64Decode(coded);
      if (!wrapped) return broken();
      ECLUSE_TRY(*slot, UnwrapByRoot(root, kind, name, *id, *wrapped));
    } else {
      *slot = UnwrapText(base.gate->key, kind, name, *id, coded);
      if (!*slot) return broken();
    }
    base.names.push_back({kind, name, id_text});
  }
  if (!base.complete()) return broken();
  return base;
}

Result<std::string> MakeRing(RootKey& root) {
  std::string text = fmt::format("{}\nroot {}\n", kRingHeader, HexEncode(root.id()));
  const KeyId gate_id = RandomId();
  const Xaes gate(RandomKey());
  ECLUSE_TRY(const std::string gate_line, WrapLineByRoot(root, "kek", "gate", gate_id, Secret(gate.key())));
  ECLUSE_TRY(const std::string auditors_line, WrapLineByRoot(root, "kek", "auditors", RandomId(), RandomKey()));
  text += gate_line + auditors_line;
  for (const char* name : {"index", "pseudonym", "ledger"})
    text += WrapLine(gate, gate_id, "key", name, RandomId(), RandomKey().bytes());
  return text;
}

class FileKeyRing final : public KeyRing {
 public:
  FileKeyRing(FileSystem& files, std::string folder, Base base)
      : files_(files),
        folder_(std::move(folder)),
        base_(std::move(base)),
        index_(base_.index->key.key()),
        pseudonym_(base_.pseudonym->key.key()) {}

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
    if (!base_.ledger) {
      const std::string path = folder_ + "/ring";
      ECLUSE_TRY(std::string content, ReadWholeFile(files_, path, kFileLimit));
      const KeyId id = RandomId();
      const Secret seed = RandomKey();
      ECLUSE_OK(ReplaceFile(files_, path,
                            content + WrapLine(base_.gate->key, base_.gate->id, "key", "ledger", id, seed.bytes())));
      base_.ledger = WrappedKey{id, Xaes(seed.Copy())};
      base_.names.push_back({"key", "ledger", HexEncode(id)});
    }
    return Secret(base_.ledger->key.key());
  }

  Result<std::string> Wrap(std::string_view plain, std::string_view associated) override {
    return SealEnvelope(base_.gate->key, base_.gate->id, plain, associated);
  }

  Result<std::string> Unwrap(std::string_view wrapped, std::string_view associated) override {
    auto plain = OpenEnvelope(base_.gate->key, wrapped, associated);
    if (!plain) return Unavailable("a wrapped secret does not open", "it was altered, or belongs to another key ring");
    return std::move(*plain);
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
    std::vector<KeyInfo> all = base_.names;
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
    std::unique_lock lock(mutex_);
    made_ = std::move(made);
  }

 private:
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
    text += WrapLine(base_.gate->key, base_.gate->id, "day", name, id, key.bytes());
    text += WrapLine(base_.auditors->key, base_.auditors->id, "auditors", name, id, key.bytes());
    return ReplaceFile(files_, path, text);
  }

  Result<Day> LoadDay(const std::string& name, const std::string& path) {
    ECLUSE_TRY(std::string content, ReadWholeFile(files_, path, kFileLimit));
    std::istringstream lines(content);
    std::string header, word, day, id_text, coded;
    std::getline(lines, header);
    lines >> word >> day >> id_text >> coded;
    auto id = ParseId(id_text);
    if (header != kDayHeader || word != "day" || day != name || !id) return DamagedDay(name);
    auto key = UnwrapText(base_.gate->key, "day", name, *id, coded);
    if (!key) return DamagedDay(name);
    return std::make_shared<const WrappedKey>(std::move(*key));
  }

  FileSystem& files_;
  std::string folder_;
  Base base_;
  HmacKey index_, pseudonym_;
  std::shared_mutex mutex_;
  std::map<int64_t, Day> days_;
  std::function<void(const KeyInfo&)> made_;
};

bool Inside(const std::string& path, const std::string& folder) {
  std::error_code ignored;
  auto file = std::filesystem::weakly_canonical(path, ignored);
  auto dir = std::filesystem::weakly_canonical(folder, ignored);
  auto [end, unused] = std::mismatch(dir.begin(), dir.end(), file.begin(), file.end());
  return end == dir.end();
}

}  // namespace

Status KeyRing::Init(const RootSource& root, bool passphrase) { return MakeRoot(RealFiles(), root, passphrase); }

Result<std::unique_ptr<KeyRing>> KeyRing::Open(const RootSource& source, const std::string& data_dir,
                                               FileSystem* given) {
  FileSystem& files = given != nullptr ? *given : RealFiles();
  for (const std::string& path : {source.file, source.passphrase_file, source.pin_file}) {
    if (!path.empty() && Inside(path, data_dir))
      return Unavailable("the root key, or what opens it, lies inside the data folder that it protects",
                         "move it elsewhere and name it in vault.root", path);
  }
  ECLUSE_TRY(const auto root, OpenRoot(files, source));
  std::string folder = data_dir + "/keys";
  ECLUSE_OK(PreparePrivateFolder(files, data_dir));
  ECLUSE_OK(PreparePrivateFolder(files, folder));
  ECLUSE_OK(PreparePrivateFolder(files, folder + "/days"));
  std::string path = folder + "/ring";
  ECLUSE_TRY(auto present, files.Find(path));
  if (!present) {
    ECLUSE_TRY(auto days, files.List(folder + "/days"));
    ECLUSE_TRY(auto ledger, files.Find(data_dir + "/ledger"));
    if (!days.empty() || ledger)
      return Unavailable("the gate's key ring is missing, and there is a ledger that only it opens",
                         "restore <data_dir>/keys from a copy made with the gate stopped", path);
    ECLUSE_TRY(const std::string ring, MakeRing(*root));
    ECLUSE_OK(ReplaceFile(files, path, ring));
    ECLUSE_OK(files.SyncDirectory(data_dir));
  }
  ECLUSE_TRY(std::string content, ReadWholeFile(files, path, kFileLimit));
  ECLUSE_TRY(Base base, ParseRing(*root, content, path));
  return std::make_unique<FileKeyRing>(files, folder, std::move(base));
}

}  // namespace ecluse
